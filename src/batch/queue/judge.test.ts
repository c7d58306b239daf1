import { describe, expect, test } from 'vitest';

import type { Inspection } from '../../contract/inspection.ts';
import type { Deployment, Deployments } from '../../deployments/port.ts';
import { judge } from './judge.ts';

const scope = { resourceId: 'default', actor: 'cli' };
const request = { endpoint: '/chat/completions', dialect: 'azure' } as const;

const inspection = (change: Partial<Inspection> = {}): Inspection => ({
  requests: 3,
  tokens: 30,
  model: 'batch',
  url: '/chat/completions',
  firstLine: 1,
  errors: null,
  imageLines: [],
  imageLinesOmitted: 0,
  segments: [],
  ...change,
});

const having = (change: Partial<Deployment> = {}): Deployments => {
  const deployment: Deployment = {
    name: 'batch',
    model: 'gpt-35-turbo',
    version: '0125',
    sku: 'GlobalBatch',
    unusable: null,
    takesImages: false,
    enqueuedTokensMax: 1_000,
    sharedTokensMax: null,
    whenFull: 'fail',
    upstreams: [],
    concurrencyMax: 1,
    ...change,
  };
  return { find: async () => deployment, list: async () => [deployment] };
};

describe('images', () => {
  test('are refused on each of their lines where the model takes text alone', async () => {
    const verdict = await judge(
      scope,
      inspection({ imageLines: [2, 3], imageLinesOmitted: 7 }),
      request,
      having(),
    );

    expect(verdict).toMatchObject({ kind: 'faulty', errors: { omitted: 7 } });
    expect(verdict.kind === 'faulty' && verdict.errors.data).toEqual([
      {
        code: 'invalid_request',
        line: 2,
        param: 'body.messages',
        message: expect.stringContaining(
          "Line 2: this request carries an image, but the deployment 'batch' has the model 'gpt-35-turbo'",
        ),
      },
      expect.objectContaining({ line: 3 }),
    ]);
  });

  test('are found in the input of responses', async () => {
    const facts = inspection({ url: '/responses', imageLines: [1] });

    const verdict = await judge(scope, facts, request, having());

    expect(verdict).toMatchObject({ errors: { data: [{ param: 'body.input' }] } });
  });

  test('are welcome where the model takes them', async () => {
    const verdict = await judge(
      scope,
      inspection({ imageLines: [2] }),
      request,
      having({ takesImages: true }),
    );

    expect(verdict.kind).toBe('runnable');
  });

  test('a file without any runs on a model that takes text alone', async () => {
    expect((await judge(scope, inspection(), request, having())).kind).toBe('runnable');
  });
});

test('a deployment that cannot be used says why', async () => {
  const unusable = "The version '0125' has left the model catalog. Change the deployment.";

  const verdict = await judge(scope, inspection({ firstLine: 4 }), request, having({ unusable }));

  expect(verdict).toEqual({
    kind: 'faulty',
    errors: {
      data: [{ code: 'invalid_request', message: unusable, param: 'body.model', line: 4 }],
      omitted: 0,
    },
  });
});
