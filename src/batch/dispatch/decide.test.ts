import { describe, expect, test } from 'vitest';
import { NO_USAGE, type UpstreamReply } from '../../upstream/port.ts';
import { decide, sortReply, type Evidence } from './decide.ts';

const answer = (status: number): UpstreamReply => ({
  kind: 'answer',
  status,
  body: Buffer.from('{}'),
  requestId: null,
  retryAfterMs: null,
  usage: NO_USAGE,
  fault: null,
});
const failure = (reason: Extract<UpstreamReply, { kind: 'failure' }>['reason']): UpstreamReply => ({
  kind: 'failure',
  reason,
  message: 'm',
  status: null,
});
const evidence: Evidence = {
  attempts: 0,
  othersSucceed: false,
  everSucceeded: true,
  upstreamDown: false,
  maxRetries: 2,
};

describe('a reply is sorted by who it is about', () => {
  test.each([
    [answer(200), 'answered'],
    [answer(201), 'answered'],
    [answer(400), 'rejected'],
    [answer(413), 'rejected'],
    [answer(422), 'rejected'],
    [answer(429), 'throttled'],
    [answer(401), 'refused'],
    [answer(403), 'refused'],
    [answer(404), 'refused'],
    [answer(408), 'suspect'],
    [answer(409), 'suspect'],
    [answer(500), 'suspect'],
    [answer(502), 'down'],
    [answer(503), 'down'],
    [answer(504), 'down'],
    [failure('unreachable'), 'down'],
    [failure('reset'), 'suspect'],
    [failure('timeout'), 'suspect'],
    [failure('bad_answer'), 'suspect'],
    [failure('foreign_answer'), 'refused'],
    [failure('redirect'), 'refused'],
    [{ ...answer(200), fault: { code: null, message: 'm' } } as UpstreamReply, 'suspect'],
    [failure('aborted'), 'aborted'],
  ] as const)('%j is %s', (reply, sort) => {
    expect(sortReply(reply)).toBe(sort);
  });
});

describe('an upstream that is down or misconfigured burns no line', () => {
  test.each(['down', 'refused', 'suspect'] as const)(
    '%s does not count while the upstream is down',
    (sort) => {
      expect(decide(sort, { ...evidence, attempts: 99, upstreamDown: true })).toEqual({
        kind: 'retry',
        counts: false,
      });
    },
  );

  test('a refusal does not count before any success: the key or the model is wrong', () => {
    expect(decide('refused', { ...evidence, attempts: 99, everSucceeded: false })).toEqual({
      kind: 'retry',
      counts: false,
    });
  });

  test('a throttled line waits for ever', () => {
    expect(decide('throttled', { ...evidence, attempts: 99, othersSucceed: true })).toEqual({
      kind: 'retry',
      counts: false,
    });
  });
});

describe('a line that fails where others succeed pays for it', () => {
  test('a refusal is final', () => {
    expect(decide('refused', { ...evidence, othersSucceed: true })).toEqual({ kind: 'record', ok: false });
  });

  test('a suspect line is recorded as failed after its retries', () => {
    expect(decide('suspect', { ...evidence, attempts: 1 })).toEqual({ kind: 'retry', counts: true });
    expect(decide('suspect', { ...evidence, attempts: 2 })).toEqual({ kind: 'record', ok: false });
  });

  test('a 503 that only this line meets counts, but it may meet four times as many', () => {
    const busy = { ...evidence, othersSucceed: true };

    expect(decide('down', { ...busy, attempts: 7 })).toEqual({ kind: 'retry', counts: true });
    expect(decide('down', { ...busy, attempts: 8 })).toEqual({ kind: 'record', ok: false });
  });

  test('a rejected line is recorded at once', () => {
    expect(decide('rejected', evidence)).toEqual({ kind: 'record', ok: false });
  });
});
