import { describe, expect, test } from 'vitest';

import type { BatchErrors } from '../../contract/batch.ts';
import type { Inspection } from '../../contract/inspection.ts';
import type { Deployment, Deployments } from '../../deployments/port.ts';
import { inspectInput } from '../validate/inspect.ts';
import { judge } from './judge.ts';

const scope = { resourceId: 'default', actor: 'cli' };
const request = { endpoint: '/chat/completions', dialect: 'azure' } as const;

const inspection = (change: Partial<Inspection> = {}): Inspection => ({
  requests: 3,
  tokens: 30,
  model: 'batch',
  groups: [{ url: '/chat/completions', model: 'batch', requests: 3, faulty: 0, lines: [[1, 3]] }],
  errors: null,
  imageLines: [],
  imageLinesOmitted: 0,
  segments: [],
  ...change,
});

const usable: Deployment = {
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
};

const having = (change: Partial<Deployment> = {}): Deployments => {
  const deployment: Deployment = { ...usable, ...change };
  return {
    find: async (_, name) => (name === deployment.name ? deployment : undefined),
    list: async () => [deployment],
  };
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
    const facts = inspection({
      groups: [{ url: '/responses', model: 'batch', requests: 1, faulty: 0, lines: [[1, 1]] }],
      imageLines: [1],
    });

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

test('a deployment that cannot be used says why, on every line', async () => {
  const unusable = "The version '0125' has left the model catalog. Change the deployment.";

  const verdict = await judge(scope, inspection(), request, having({ unusable }));

  expect(verdict).toEqual({
    kind: 'faulty',
    errors: {
      data: [1, 2, 3].map((line) => ({
        code: 'invalid_request',
        message: `Line ${line}: ${unusable}`,
        param: 'body.model',
        line,
      })),
      omitted: 0,
    },
  });
});

/** What a file of these lines is told. */
async function told(
  lines: readonly (object | string)[],
  batch: Parameters<typeof judge>[2],
  deployments: Deployments = having({ takesImages: true }),
): Promise<BatchErrors | null> {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
  const verdict = await judge(scope, await inspectInput([Buffer.from(text)]), batch, deployments);
  return verdict.kind === 'faulty' ? verdict.errors : null;
}

const asked = { messages: [{ role: 'user', content: 'Hi' }], input: 'Hi', prompt: 'Hi' };
const line = (id: number | string, change: object = {}, members: object = {}) => ({
  custom_id: `${id}`,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { model: 'batch', ...asked, ...members },
  ...change,
});
const nobody: Deployments = { find: async () => undefined, list: async () => [] };
const azure = { endpoint: '/chat/completions', dialect: 'azure' } as const;
const openai = { endpoint: '/chat/completions', dialect: 'openai' } as const;
const brief = (errors: BatchErrors | null) => errors?.data.map(({ line: number, code }) => [number, code]);

describe('where the lines go', () => {
  test('every line that goes elsewhere is told so, wherever the first one goes', async () => {
    const lines = [line(1, { url: '/embeddings' }), line(2), '', line(3, { url: '/responses' }), line(4)];

    expect(await told(lines, azure)).toEqual({
      data: [
        {
          code: 'url_mismatch',
          line: 1,
          message:
            "Line 1: url '/embeddings' does not match the endpoint of the batch, '/chat/completions'. Please ensure that all lines have the same url, and that the batch is created with it as its endpoint.",
          param: 'url',
        },
        expect.objectContaining({ code: 'url_mismatch', line: 4 }),
      ],
      omitted: 0,
    });
  });

  test('a file that goes elsewhere as a whole is told so on every line', async () => {
    const lines = [line(1, { url: '/embeddings' }), line(2, { url: '/v1/embeddings' })];

    expect(brief(await told(lines, azure))).toEqual([
      [1, 'url_mismatch'],
      [2, 'url_mismatch'],
    ]);
  });

  test('is asked before what the body holds, and after what the line is', async () => {
    const elsewhere = { url: '/embeddings', body: { model: 'batch' } };
    const lines = [
      line(1),
      line(2, elsewhere),
      line(3, { ...elsewhere, method: 'GET' }),
      line(4, { ...elsewhere, body: {} }),
      line(5, { body: { model: 'batch' } }),
      'x',
    ];

    expect(brief(await told(lines, azure))).toEqual([
      [2, 'url_mismatch'],
      [3, 'invalid_request'],
      [4, 'url_mismatch'],
      [5, 'invalid_request'],
      [6, 'invalid_json_line'],
    ]);
  });

  test('on Azure, /chat/completions stands for a file that goes to /responses as a whole', async () => {
    const responses = [line(1, { url: '/responses' }), line(2, { url: '/v1/responses' })];

    expect(await told(responses, azure)).toBeNull();
    expect(brief(await told(responses, openai))).toEqual([
      [1, 'invalid_url'],
      [2, 'invalid_url'],
    ]);
    expect(brief(await told([...responses, line(3)], azure))).toEqual([
      [1, 'url_mismatch'],
      [2, 'url_mismatch'],
    ]);
  });

  test('up to 1,000 lines are told, the first ones, and the others counted, each once', async () => {
    const lines = Array.from({ length: 3_000 }, (_, index) =>
      index % 3 === 0
        ? line(index, { url: '/embeddings', ...(index % 2 === 0 && { body: { model: 'batch' } }) })
        : index % 3 === 1
          ? line(index, { method: 'GET' })
          : line(index),
    );

    const errors = await told(lines, azure);

    expect(errors?.data.map((error) => error.line)).toEqual(
      Array.from({ length: 1_500 }, (_, index) => index + 1)
        .filter((number) => number % 3 !== 0)
        .slice(0, 1_000),
    );
    expect(errors?.omitted).toBe(1_000);
  });
});

describe('a model that no deployment has', () => {
  test('is told on every line, with the deployments there are', async () => {
    const deployments: Deployments = { ...having(), find: async () => undefined };

    expect(await told([line(1), '', line(2)], azure, deployments)).toEqual({
      data: [1, 3].map((number) => ({
        code: 'model_not_found',
        line: number,
        message: `Line ${number}: the model deployment 'batch' could not be found. Set body.model to one of this resource's deployments: 'batch'.`,
        param: 'body.model',
      })),
      omitted: 0,
    });
  });

  test('is told beside the faults of other lines', async () => {
    const lines = [line(1), line(2, { method: 'GET' }), line(3, { url: '/embeddings' }), 'x', line(5)];

    expect(brief(await told(lines, azure, nobody))).toEqual([
      [1, 'model_not_found'],
      [2, 'invalid_request'],
      [3, 'url_mismatch'],
      [4, 'invalid_json_line'],
      [5, 'model_not_found'],
    ]);
  });

  test('is told on 1,000 lines, and the others are counted', async () => {
    const lines = Array.from({ length: 1_234 }, (_, index) => line(index));

    const errors = await told(lines, openai, nobody);

    expect([errors?.data.length, errors?.omitted]).toEqual([1_000, 234]);
    expect(errors?.data[0]).toMatchObject({
      message:
        "The provided model 'batch' is not supported by the Batch API. Set body.model to one of this resource's deployments: there are none yet.",
    });
  });

  test('names ten deployments at most, since each line repeats them', async () => {
    const list = Array.from({ length: 12 }, (_, index) => ({ name: `d${index}` }) as Deployment);

    const errors = await told([line(1)], azure, { find: async () => undefined, list: async () => list });

    expect(errors?.data[0]?.message).toMatch(/: 'd0', .*, 'd9' and 2 more\.$/);
  });
});

describe('several models', () => {
  const both: Deployments = {
    find: async (_, name) =>
      ['batch', 'other'].includes(name) ? { ...usable, name, takesImages: true } : undefined,
    list: async () => [],
  };

  test('a line that names another deployment than the first is told both', async () => {
    const lines = [line(1), line(2, {}, { model: 'other' }), line(3)];

    expect((await told(lines, azure, both))?.data).toEqual([
      {
        code: 'model_mismatch',
        line: 2,
        message:
          'Line 2: model "other" does not match "batch" on line 1. Please ensure that all requests in the batch point to the same deployment in the model property of the request.',
        param: 'body.model',
      },
    ]);
  });

  test('a mistyped model on the first line is the only one that is told', async () => {
    const lines = [line(1, {}, { model: 'bacth' }), line(2), line(3), line(4, {}, { model: 'other' })];

    expect(brief(await told(lines, azure, both))).toEqual([
      [1, 'model_not_found'],
      [4, 'model_mismatch'],
    ]);
  });

  test('none of which there is are all told', async () => {
    const lines = [line(1, {}, { model: 'x' }), line(2, {}, { model: 'y' }), line(3, {}, { model: 'x' })];

    expect(brief(await told(lines, openai, both))).toEqual([
      [1, 'model_not_found'],
      [2, 'mismatched_model'],
      [3, 'model_not_found'],
    ]);
  });
});

describe('in the words of OpenAI', () => {
  const without = (member: string) => line(1, { [member]: undefined });
  const missing = (member: string) => ({
    code: 'missing_required_parameter',
    message: `Missing required parameter: '${member}'.`,
    param: member,
    line: 1,
  });

  test.each([
    ['without custom_id', without('custom_id'), missing('custom_id')],
    ['without method', without('method'), missing('method')],
    ['without url', without('url'), missing('url')],
    ['without body', without('body'), missing('body')],
    [
      'without a model',
      line(1, {}, { model: undefined }),
      { code: 'invalid_request', message: 'Model parameter is required.', param: 'body.model', line: 1 },
    ],
    [
      'without messages',
      line(1, {}, { messages: undefined }),
      {
        code: 'invalid_request',
        message: 'Messages parameter is required.',
        param: 'body.messages',
        line: 1,
      },
    ],
    [
      'that streams',
      line(1, {}, { stream: true }),
      {
        code: 'streaming_unsupported',
        message: 'Chat Completions: Streaming is not supported in the Batch API.',
        param: 'body.stream',
        line: 1,
      },
    ],
    [
      'that goes elsewhere',
      line(1, { url: '/v1/embeddings' }, { input: undefined }),
      {
        code: 'invalid_url',
        message: 'The URL provided for this request does not match the batch endpoint.',
        param: 'url',
        line: 1,
      },
    ],
    [
      'that goes to no endpoint',
      line(1, { url: '/v1/chat' }),
      {
        code: 'invalid_url',
        message: expect.stringMatching(
          /^The URL provided for this request does not match the batch endpoint\./,
        ),
        param: 'url',
        line: 1,
      },
    ],
    [
      'that is not JSON',
      '{invalid json here',
      {
        code: 'invalid_json_line',
        message: "This line is not parseable as valid JSON. Unexpected 'i' at position 2.",
        param: null,
        line: 1,
      },
    ],
  ])('a line %s', async (_, bad, error) => {
    expect(await told([bad], openai)).toEqual({ data: [error], omitted: 0 });
  });

  test('two models, and a custom_id used twice', async () => {
    const lines = [line(1), line(2, {}, { model: 'other' }), line(1)];

    expect((await told(lines, openai))?.data).toMatchObject([
      { line: 2, code: 'mismatched_model', param: 'body.model' },
      { line: 3, code: 'duplicate_custom_id', param: 'custom_id' },
    ]);
  });

  test('what only Azure says of the whole file is left out', async () => {
    const lines = [line(1, {}, { model: undefined }), line(2, {}, { model: undefined })];

    expect(brief(await told(lines, openai))).toEqual([
      [1, 'invalid_request'],
      [2, 'invalid_request'],
    ]);
    expect(brief(await told(lines, azure))?.[0]).toEqual([null, 'invalid_request']);
  });
});
