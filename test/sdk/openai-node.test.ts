import OpenAI, {
  AuthenticationError,
  AzureOpenAI,
  BadRequestError,
  NotFoundError,
  RateLimitError,
  UnprocessableEntityError,
  toFile,
} from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEPLOYMENT, KEY_A, lines, startService, type Service } from '../contract/harness.ts';
import { CLIENTS } from './clients.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
beforeEach(() => service.gate.open());
afterAll(() => service.close());

describe.each(CLIENTS)('$name', ({ isAzure, create: createAt }) => {
  const create = (apiKey = KEY_A) => createAt(service.url, apiKey);
  const upload = async (client: OpenAI, content = lines(3)) =>
    client.files.create({ file: await toFile(Buffer.from(content), 'test.jsonl'), purpose: 'batch' });
  const submit = async (client: OpenAI, content?: string) => {
    const file = await upload(client, content);
    return client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { project: 'test' },
    });
  };
  const ended = async (client: OpenAI, id: string) => {
    for (;;) {
      const batch = await client.batches.retrieve(id);
      if (['completed', 'failed', 'cancelled', 'expired'].includes(batch.status)) return batch;
      await service.deps.clock.sleep(20);
    }
  };

  test('upload, create, poll and content: the sequence of the documentation', async () => {
    const client = create();

    const file = await upload(client);
    expect(file).toMatchObject({
      object: 'file',
      purpose: 'batch',
      filename: 'test.jsonl',
      status: 'processed',
    });
    expect((await client.files.retrieve(file.id)).bytes).toBe(lines(3).length);

    const created = await client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      metadata: { project: 'test' },
    });
    expect(created.status).toBe('validating');
    expect(created.errors).toBeNull();

    const batch = await ended(client, created.id);
    expect(batch).toMatchObject({
      status: 'completed',
      endpoint: isAzure ? '/chat/completions' : '/v1/chat/completions',
      request_counts: { total: 3, completed: 3, failed: 0 },
      metadata: { project: 'test' },
      model: DEPLOYMENT,
    });
    expect(batch.usage?.total_tokens).toBeGreaterThan(0);
    expect(typeof batch.error_file_id === 'string').toBe(isAzure);

    const content = await client.files.content(batch.output_file_id ?? '');
    const answers = (await content.text())
      .trim()
      .split('\n')
      .map((answer) => JSON.parse(answer));
    expect(answers.map((answer) => answer.custom_id)).toEqual(['task-0', 'task-1', 'task-2']);
    expect(answers[0].response.status_code).toBe(200);
    expect(answers[0].response.body.choices[0].message.content).toContain('Question 0?');

    expect(await client.files.delete(file.id)).toEqual({ object: 'file', id: file.id, deleted: true });
    await expect(client.files.retrieve(file.id)).rejects.toThrow(NotFoundError);
  });

  test('a list pages by itself, through every batch once, and ends', async () => {
    const client = create();
    const made = [];
    for (let count = 0; count < 3; count++) made.unshift((await submit(client, lines(1))).id);
    for (const id of made) await ended(client, id);

    const seen: string[] = [];
    for await (const batch of client.batches.list({ limit: 2 })) seen.push(batch.id);

    expect(seen.slice(0, 3)).toEqual(made);
    expect(new Set(seen).size).toBe(seen.length);
    const files: string[] = [];
    for await (const file of client.files.list({ limit: 2, purpose: 'batch' })) files.push(file.id);
    expect(new Set(files).size).toBe(files.length);
    expect(files.length).toBeGreaterThanOrEqual(3);
  });

  test('a running batch is cancelled', async () => {
    const client = create();
    service.gate.close(1);
    const batch = await submit(client);

    const cancelling = await client.batches.cancel(batch.id);

    expect(cancelling.status).toBe('cancelling');
    expect((await ended(client, batch.id)).status).toBe('cancelled');
    const again = await client.batches.cancel(batch.id).catch((cause: unknown) => cause);
    // OpenAI lets a cancelled batch be cancelled again.
    expect(again).toMatchObject({ status: isAzure ? 400 : 'cancelled' });
  });

  test('bad lines are on the failed batch, each with its number', async () => {
    const client = create();

    const batch = await submit(client, 'not json\n{}\n');

    expect(batch.status).toBe('failed');
    expect(batch.errors?.data?.map(({ code, line }) => [line, code])).toEqual([
      [1, 'invalid_json_line'],
      [2, isAzure ? 'invalid_request' : 'missing_required_parameter'],
    ]);
  });

  test('errors are of the class that their status names, with the request id', async () => {
    const client = create();

    const error = await client.batches.retrieve('batch_x').catch((cause: unknown) => cause);

    expect(error).toBeInstanceOf(NotFoundError);
    expect(error).toMatchObject({ status: 404, code: isAzure ? 'notFound' : null });
    expect((error as NotFoundError).requestID).toMatch(/^[0-9a-f-]{36}$/);
    expect((error as NotFoundError).message).toContain('batch_x');
  });

  test('a wrong key is an AuthenticationError', async () => {
    const error = await create('wrong')
      .files.list()
      .catch((cause: unknown) => cause);

    expect(error).toBeInstanceOf(AuthenticationError);
    expect((error as AuthenticationError).requestID).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('a bad parameter is a BadRequestError that says which', async () => {
    const file = await upload(create());

    const error = await create()
      .batches.create({
        input_file_id: file.id,
        endpoint: '/v1/chat/completions',
        completion_window: '1h' as '24h',
      })
      .catch((cause: unknown) => cause);

    expect(error).toBeInstanceOf(BadRequestError);
    expect((error as BadRequestError).message).toContain('completion_window');
  });

  test('an idempotency key makes a repeated create one batch', async () => {
    const client = create();
    const file = await upload(client, lines(1));
    const body = {
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    } as const;
    const options = { headers: { 'Idempotency-Key': file.id } };

    const first = await client.batches.create(body, options);
    const again = await client.batches.create(body, options);
    const other = await client.batches
      .create({ ...body, metadata: { other: 'body' } }, options)
      .catch((cause: unknown) => cause);

    expect(again.id).toBe(first.id);
    expect(other).toBeInstanceOf(UnprocessableEntityError);
  });
});

test('a chat with a batch deployment is told what to do instead', async () => {
  const client = new AzureOpenAI({
    endpoint: service.url,
    apiKey: KEY_A,
    apiVersion: '2024-10-21',
    deployment: DEPLOYMENT,
  });

  const error = await client.chat.completions
    .create({ model: DEPLOYMENT, messages: [{ role: 'user', content: 'hello' }] })
    .catch((cause: unknown) => cause);

  expect(error).toBeInstanceOf(BadRequestError);
  expect(error).toMatchObject({ status: 400, code: 'OperationNotSupported' });
});

test('too many wrong keys are a RateLimitError, and the client honours the time to come back', async () => {
  await using limited = await startService({ http: { authFailuresPerMinuteMax: 0 } });
  const client = new OpenAI({ baseURL: `${limited.url}/v1`, apiKey: 'wrong', maxRetries: 0 });
  await client.files.list().catch(() => undefined);

  const error = await client.files.list().catch((cause: unknown) => cause);

  expect(error).toBeInstanceOf(RateLimitError);
  expect(Number((error as RateLimitError).headers?.get('retry-after-ms'))).toBeGreaterThan(1_000);
});

test('token headers reach whoever asks for the response', async () => {
  const client = new OpenAI({ baseURL: `${service.url}/openai/v1`, apiKey: KEY_A });
  const file = await client.files.create({
    file: await toFile(Buffer.from(lines(2)), 'test.jsonl'),
    purpose: 'batch',
    expires_after: { anchor: 'created_at', seconds: 1_209_600 },
  });

  const { response, request_id } = await client.batches
    .create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' })
    .withResponse();

  expect(file.expires_at).toBe(file.created_at + 1_209_600);
  expect(response.status).toBe(201);
  expect(Number(response.headers.get('deployment-enqueued-tokens'))).toBeGreaterThan(0);
  expect(request_id).toMatch(/^[0-9a-f-]{36}$/);
});
