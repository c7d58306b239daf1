import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { WireBatch } from '../../src/contract/wire.ts';
import {
  batchOn,
  DEPLOYMENT,
  line,
  lines,
  RESOURCE_A,
  startService,
  type Json,
  type Service,
} from './harness.ts';

const scope = { resourceId: RESOURCE_A, actor: 'test' };

let service: Service;
/** Tokens of a batch of `lines(2)`. */
let pair: number;
beforeAll(async () => {
  service = await startService();
  const { id } = await service.createBatch(lines(2));
  pair = (await service.waitFor(id, 'completed')).offpeak.enqueued_tokens.used;
});
beforeEach(() => service.gate.close());
afterEach(async () => {
  service.gate.open();
  await vi.waitFor(async () => expect(await service.deps.state.batches.live()).toEqual([]), {
    timeout: 20_000,
  });
});
afterAll(() => service.close());

async function deploy(change: { enqueuedTokensMax?: number; whenFull?: 'wait' | 'fail' }): Promise<void> {
  const { deployments } = service.deps.state;
  const row = await deployments.get(scope, DEPLOYMENT);
  await deployments.put(scope, { ...row!, ...change }, { quotaTokensMax: null, atS: 1 });
}

const create = (fileId: string, headers = {}, path = '/openai/v1/batches') =>
  service.post(path, batchOn(fileId), headers);
const get = async (id: string): Promise<Json> => (await service.json(`/openai/v1/batches/${id}`)).body;

const WAIT = { 'offpeak-queue': 'wait' };
const tokenHeaders = (headers: Headers): (string | null)[] => [
  headers.get('deployment-enqueued-tokens'),
  headers.get('deployment-maximum-enqueued-tokens'),
];

describe('a batch that finds no room', () => {
  beforeEach(() => deploy({ enqueuedTokensMax: pair, whenFull: 'fail' }));

  test('and may wait shows its place in the queue and why it waits, in every answer', async () => {
    const file = await service.upload(lines(2));
    const first = await create(file, WAIT);
    await service.waitFor(first.body.id, 'in_progress');
    const second = await create(file, WAIT);

    const third = await create(file, WAIT);

    expect(third.status).toBe(201);
    expect(tokenHeaders(third.headers)).toEqual([`${pair}`, `${pair}`]);
    const shown = {
      status: 'validating',
      in_progress_at: null,
      model: DEPLOYMENT,
      offpeak: {
        waiting: `Waits for room: place 2 in the queue of deployment ${DEPLOYMENT}; needs ${pair} tokens, 0 of ${pair} are free.`,
        queue: { position: 2, length: 2, tokens: pair, tokens_ahead: pair },
        enqueued_tokens: { used: 0, held: pair, limit: pair },
      },
    };
    expect(WireBatch.parse(third.body)).toMatchObject(shown);
    expect(await get(third.body.id)).toMatchObject(shown);
    const listed = await service.json('/openai/v1/batches?limit=3');
    expect(listed.body.data.map(({ offpeak }: Json) => offpeak.queue?.position ?? null)).toEqual([
      2,
      1,
      null,
    ]);
    expect((await get(first.body.id)).offpeak).toMatchObject({
      queue: null,
      enqueued_tokens: { used: pair, held: pair, limit: pair },
    });

    service.gate.open();
    const done = [first, second, third].map(({ body }) => service.waitFor(body.id, 'completed'));
    const [, secondDone, thirdDone] = await Promise.all(done);
    expect(secondDone.offpeak).toMatchObject({
      queue: null,
      waiting: null,
      enqueued_tokens: { used: pair, held: null, limit: null },
    });
    expect(secondDone.in_progress_at).toBeLessThanOrEqual(thirdDone.in_progress_at);
  });

  test('and must not wait is refused, with both token headers', async () => {
    const file = await service.upload(lines(2));
    await create(file);

    const refused = await create(file);

    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'token_limit_exceeded' } } });
    expect(tokenHeaders(refused.headers)).toEqual([`${pair}`, `${pair}`]);
    expect(refused.headers.get('location')).toBe(null);
  });

  test('waits where the deployment says so, unless the caller says otherwise', async () => {
    await deploy({ whenFull: 'wait' });
    const file = await service.upload(lines(2));
    await create(file);

    expect((await create(file, { 'offpeak-queue': 'fail' })).status).toBe(400);
    expect((await create(file)).body.offpeak.queue).toMatchObject({ position: 1 });
    expect((await create(file, {}, '/v1/batches')).body.offpeak.queue).toMatchObject({ position: 2 });
  });

  test('and is larger than the limit is refused, even if it may wait', async () => {
    const refused = await create(await service.upload(lines(20)), WAIT);

    expect(refused.status).toBe(400);
    expect(refused.body.error.message).toMatch(
      /^The number of enqueued tokens has surpassed the configured limit of \d+ for the deployment .* This batch alone needs \d+, so it can never start under this limit/,
    );
    expect(tokenHeaders(refused.headers)).toEqual(['0', `${pair}`]);
  });

  test('can be cancelled while it waits', async () => {
    const file = await service.upload(lines(2));
    await create(file, WAIT);
    const waiting = await create(file, WAIT);

    const cancelled = await service.post(`/openai/v1/batches/${waiting.body.id}/cancel`);

    expect(cancelled.body).toMatchObject({ status: 'cancelling', offpeak: { queue: null } });
    expect(await service.waitFor(waiting.body.id, 'cancelled')).toMatchObject({
      request_counts: { total: 0 },
      offpeak: { queue: null, waiting: null },
    });
  });

  test('starts when the limit of its deployment is raised', async () => {
    const file = await service.upload(lines(2));
    await create(file, WAIT);
    const waiting = await create(file, WAIT);

    await deploy({ enqueuedTokensMax: 2 * pair });

    const started = await service.waitFor(waiting.body.id, 'in_progress');
    expect(started.offpeak.enqueued_tokens).toMatchObject({ used: pair, limit: 2 * pair });
  });

  test('cannot share an Idempotency-Key with one that must not wait', async () => {
    const file = await service.upload(lines(2));
    const key = { 'idempotency-key': 'wait or fail' };
    const first = await create(file, { ...key, ...WAIT });

    expect((await create(file, { ...key, ...WAIT })).body.id).toBe(first.body.id);
    expect((await create(file, key)).status).toBe(422);
  });
});

test('fifty batches that may wait, created at once, all complete under a limit for two', async () => {
  await deploy({ enqueuedTokensMax: 2 * pair, whenFull: 'fail' });
  const file = await service.upload(lines(2));
  service.gate.open();

  const created = await Promise.all(Array.from({ length: 50 }, () => create(file, WAIT)));

  expect(new Set(created.map(({ status }) => status))).toEqual(new Set([201]));
  for (const { headers } of created)
    expect(Number(headers.get('deployment-enqueued-tokens'))).toBeLessThanOrEqual(2 * pair);
  for (const { body } of created) await service.waitFor(body.id, 'completed');
});

describe('the header offpeak-queue', () => {
  test.each(['now', 'WAIT', '', 'wait, fail'])(
    "with the value '%s' is refused by its name",
    async (value) => {
      const file = await service.upload(lines(1));

      for (const path of ['/openai/v1/batches', '/v1/batches']) {
        const { status, body } = await create(file, { 'offpeak-queue': value }, path);
        expect(status).toBe(400);
        expect(body.error.message).toBe(
          `Invalid value for 'offpeak-queue': '${value}'. Supported values are: 'fail', 'wait'.`,
        );
      }
    },
  );

  test('is documented', async () => {
    const { body } = await service.json('/openapi.json');

    const parameters: Json[] = body.paths['/batches'].post.parameters;
    expect(parameters.find(({ name }) => name === 'offpeak-queue')).toMatchObject({
      in: 'header',
      required: false,
      schema: { enum: ['fail', 'wait'] },
    });
  });
});

test('a batch that fails for its input has both token headers', async () => {
  await deploy({ enqueuedTokensMax: 10 * pair });

  const failed = await create(await service.upload(`${line(1)}\n${line(1)}\n`));

  expect(failed.body.status).toBe('failed');
  expect(tokenHeaders(failed.headers)).toEqual(['0', `${10 * pair}`]);
});
