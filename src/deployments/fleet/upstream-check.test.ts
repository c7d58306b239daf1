import { expect, test } from 'vitest';
import { judgeProbe } from './upstream-check.ts';

const llama = { modelsThere: ['llama'] };

test.each([
  [{ kind: 'models', ids: ['llama', 'qwen'] }, 'ready', 'answers and lists 2 models'],
  [{ kind: 'models', ids: ['llama:latest'] }, 'ready', 'answers and lists 1 model'],
  [{ kind: 'models', ids: [] }, 'ready', 'answers and lists no models'],
  [
    { kind: 'models', ids: ['a', 'b', 'c', 'd', 'e', 'f', 'g'] },
    'unready',
    "answers and lists 7 models, but not 'llama'; it has 'a', 'b', 'c', 'd', 'e' and 2 more",
  ],
  [
    { kind: 'answer', status: 401, message: 'answers 401: no key' },
    'unready',
    'wants another key: it answers 401: no key',
  ],
  [
    { kind: 'answer', status: 404, message: 'answers 404 to GET http://h/models: Not Found' },
    'unknown',
    'answers 404 to GET http://h/models: Not Found',
  ],
  [
    { kind: 'failure', reason: 'unreachable', message: 'nothing listens there (connection refused)' },
    'unready',
    'nothing listens there (connection refused)',
  ],
  [{ kind: 'failure', reason: 'aborted', message: 'aborted' }, 'unknown', 'has not answered within 2 s'],
] as const)('%j makes an upstream %s', (probe, state, reason) => {
  expect(judgeProbe(probe, llama)).toEqual({ state, reason });
});
