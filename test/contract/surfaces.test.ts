import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  WireBatch,
  WireBatchList,
  WireFile,
  WireFileDeleted,
  WireFileList,
} from '../../src/contract/wire.ts';
import {
  batchOn,
  DEPLOYMENT,
  form,
  KEY_A,
  LIMIT,
  line,
  lines,
  startService,
  type Service,
} from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

interface Surface {
  readonly name: string;
  readonly root: string;
  readonly query: string;
  readonly created: number;
  readonly uploaded: number;
  readonly endpoint: string;
  readonly azure: boolean;
}

const azure = { uploaded: 201, endpoint: '/chat/completions', azure: true };
const SURFACES: Surface[] = [
  ...[
    '2024-07-01-preview',
    '2024-08-01-preview',
    '2024-09-01-preview',
    '2024-10-01-preview',
    '2024-10-21',
  ].map((version) => ({
    ...azure,
    name: version,
    root: '/openai',
    query: `?api-version=${version}`,
    created: 200,
  })),
  ...[
    '2024-12-01-preview',
    '2025-01-01-preview',
    '2025-02-01-preview',
    '2025-03-01-preview',
    '2025-04-01-preview',
  ].map((version) => ({
    ...azure,
    name: version,
    root: '/openai',
    query: `?api-version=${version}`,
    created: 201,
  })),
  { ...azure, name: 'azure v1', root: '/openai/v1', query: '', created: 201 },
  {
    name: 'openai',
    root: '/v1',
    query: '',
    created: 200,
    uploaded: 200,
    endpoint: '/v1/chat/completions',
    azure: false,
  },
];

describe.each(SURFACES)('$name', (surface) => {
  const { root, query, endpoint } = surface;
  const at = (path: string, more = ''): string =>
    `${root}${path}${query}${more && (query ? '&' : '?') + more}`;

  test('takes a file, runs a batch over it, lists, reads and deletes', async () => {
    const uploaded = await service.post(at('/files'), form(lines(3)));
    expect(uploaded.status).toBe(surface.uploaded);
    const file = WireFile.parse(uploaded.body);
    expect(file).toMatchObject({
      object: 'file',
      purpose: 'batch',
      status: 'processed',
      filename: 'test.jsonl',
    });
    expect(file.id).toMatch(/^file-[0-9a-f]{32}$/);
    expect(uploaded.headers.get('location')).toBe(`${root}/files/${file.id}${query}`);

    const created = await service.post(at('/batches'), {
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      anchor: 'unknown',
    });
    expect(created.status).toBe(surface.created);
    const batch = WireBatch.parse(created.body);
    expect(batch).toMatchObject({
      endpoint,
      input_file_id: file.id,
      output_file_id: null,
      error_file_id: null,
    });
    expect(batch.id).toMatch(/^batch_[0-9a-f]{8}-[0-9a-f-]{27}$/);
    expect(batch.expires_at - batch.created_at).toBe(86_400);

    await service.waitFor(batch.id, 'completed');
    const got = await service.json(at(`/batches/${batch.id}`));
    expect(got.status).toBe(200);
    expect(WireBatch.parse(got.body)).toMatchObject({
      status: 'completed',
      endpoint,
      model: DEPLOYMENT,
      request_counts: { total: 3, completed: 3, failed: 0 },
      output_file_id: batch.offpeak.output_file_id,
      error_file_id: surface.azure ? batch.offpeak.error_file_id : null,
    });

    const output = await service.fetch(at(`/files/${got.body.output_file_id}/content`));
    expect(output.status).toBe(200);
    const ids = (await output.text())
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text).custom_id);
    expect(ids).toEqual(['task-0', 'task-1', 'task-2']);
    const errors = await service.fetch(at(`/files/${batch.offpeak.error_file_id}/content`));
    expect([errors.status, await errors.text()]).toEqual([200, '']);

    const produced = await service.json(at('/files', 'purpose=batch_output&limit=100'));
    const named = [got.body.output_file_id, got.body.error_file_id].filter(Boolean);
    const ours = [batch.offpeak.output_file_id, batch.offpeak.error_file_id];
    expect(
      WireFileList.parse(produced.body)
        .data.map(({ id }) => id)
        .filter((id) => ours.includes(id))
        .toSorted((one, other) => one.localeCompare(other)),
    ).toEqual(named.toSorted((one, other) => one.localeCompare(other)));

    const batches = await service.json(at('/batches', 'limit=1'));
    expect(WireBatchList.parse(batches.body).data.map(({ id }) => id)).toEqual([batch.id]);
    const files = await service.json(at('/files', 'purpose=batch&limit=1'));
    expect(WireFileList.parse(files.body).data.map(({ id }) => id)).toEqual([file.id]);

    const deleted = await service.json(at(`/files/${file.id}`), { method: 'DELETE' });
    expect(deleted.status).toBe(200);
    expect(WireFileDeleted.parse(deleted.body)).toEqual({ object: 'file', id: file.id, deleted: true });
    expect((await service.json(at(`/files/${file.id}`))).status).toBe(404);
  });

  test('has the headers that support asks for in every answer', async () => {
    const { headers } = await service.json(at('/batches'));

    const requestId = headers.get('x-request-id');
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(headers.get('apim-request-id')).toBe(surface.azure ? requestId : null);
    expect(headers.get('x-ms-region')).toBe(surface.azure ? 'koreacentral' : null);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('access-control-allow-origin')).toBeNull();
    expect(headers.get('strict-transport-security')).toBeNull();
  });

  test('takes the key as api-key and as a bearer token', async () => {
    const asBearer = await service.json(at('/files'), { headers: { authorization: `Bearer ${KEY_A}` } });
    const asHeader = await service.json(at('/files'), { headers: { 'api-key': KEY_A } });

    expect([asBearer.status, asHeader.status]).toEqual([200, 200]);
  });
});

describe('api-versions differ', () => {
  const seconds = 1_209_600;

  test.each([
    ['/openai/files?api-version=2024-10-21', false],
    ['/openai/files?api-version=2025-01-01-preview', false],
    ['/openai/files?api-version=2025-03-01-preview', true],
    ['/openai/v1/files', true],
    ['/v1/files', true],
  ])('expires_after on %s counts: %s', async (path, counts) => {
    for (const [anchor, key] of [
      ['expires_after[anchor]', 'expires_after[seconds]'],
      ['expires_after.anchor', 'expires_after.seconds'],
    ] as const) {
      const { body } = await service.post(
        path,
        form(lines(1), { [anchor]: 'created_at', [key]: `${seconds}` }),
      );

      expect(body.expires_at).toBe(counts ? body.created_at + seconds : null);
    }
  });

  test.each([
    ['/openai/files?api-version=2025-03-01-preview', 'target'],
    ['/v1/files', 'param'],
  ])('expires_after as one field of a form on %s is refused rather than ignored', async (path, member) => {
    const value = JSON.stringify({ anchor: 'created_at', seconds });

    const { status, body } = await service.post(path, form(lines(1), { expires_after: value }));

    expect([status, body.error[member]]).toEqual([400, 'expires_after']);
    expect(body.error.message).toContain('expires_after[anchor] and expires_after[seconds]');
  });

  test.each([
    ['2024-08-01-preview', false],
    ['2024-10-01-preview', true],
    ['2025-04-01-preview', true],
  ])('the token headers on %s are there: %s', async (version, there) => {
    const input_file_id = await service.upload(lines(2));

    const { body, headers } = await service.post(
      `/openai/batches?api-version=${version}`,
      batchOn(input_file_id),
    );

    expect(headers.get('deployment-maximum-enqueued-tokens')).toBe(there ? `${LIMIT}` : null);
    expect(Number(headers.get('deployment-enqueued-tokens')) > 0).toBe(there);
    await service.waitFor(body.id, 'completed');
  });

  test('output_expires_after dates the output from 2025-04-01-preview on, in every spelling', async () => {
    const expiryOf = async (path: string, extra: object): Promise<number | null> => {
      const input_file_id = await service.upload(lines(1));
      const { body } = await service.post(path, batchOn(input_file_id, extra));
      const { output_file_id } = await service.waitFor(body.id, 'completed');
      const file = (await service.json(`/openai/v1/files/${output_file_id}`)).body;
      return file.expires_at === null ? null : file.expires_at - file.created_at;
    };

    const nested = { output_expires_after: { anchor: 'created_at', seconds } };
    expect(await expiryOf('/openai/batches?api-version=2025-04-01-preview', nested)).toBe(seconds);
    const bracketed = {
      'output_expires_after[anchor]': 'created_at',
      'output_expires_after[seconds]': seconds,
    };
    expect(await expiryOf('/openai/v1/batches', bracketed)).toBe(seconds);
    const dotted = { 'output_expires_after.anchor': 'created_at', 'output_expires_after.seconds': seconds };
    expect(await expiryOf('/v1/batches', dotted)).toBe(seconds);
    // The curl sample of the original's documentation has it so.
    const beside = { output_expires_after: { seconds }, anchor: 'created_at' };
    expect(await expiryOf('/v1/batches', beside)).toBe(seconds);
    expect(await expiryOf('/openai/batches?api-version=2024-10-21', nested)).toBeNull();
  });

  test('$filter is ignored where it was not known', async () => {
    const filter = `$filter=${encodeURIComponent('created_at lt 1')}`;

    const before = await service.json(`/openai/batches?api-version=2024-08-01-preview&${filter}`);
    const after = await service.json(`/openai/batches?api-version=2024-10-01-preview&${filter}`);

    expect(before.body.data.length).toBeGreaterThan(0);
    expect(after.body).toMatchObject({ data: [], has_more: false, first_id: null, last_id: null });
  });
});

describe('aliases', () => {
  const query = '?api-version=2024-10-21';

  test('SDKs that name a deployment find their batches', async () => {
    const input_file_id = await service.upload(lines(1));

    const { status, body } = await service.post(
      `/openai/deployments/${DEPLOYMENT}/batches${query}`,
      batchOn(input_file_id),
    );

    expect(status).toBe(200);
    const got = await service.json(`/openai/deployments/${DEPLOYMENT}/batches/${body.id}${query}`);
    expect(got.body.id).toBe(body.id);
    await service.waitFor(body.id, 'completed');
  });

  test("the documentation's list call without /openai works", async () => {
    const filter = encodeURIComponent("created_at gt 1 and status eq 'Completed'");

    const { status, body } = await service.json(
      `/batches?api-version=2024-10-01-preview&$filter=${filter}&$orderby=created_at%20asc`,
    );

    expect(status).toBe(200);
    expect(body.data.every((batch: { status: string }) => batch.status === 'completed')).toBe(true);
    expect(body.data.length).toBeGreaterThan(0);
  });

  test('doubled and trailing slashes are ignored', async () => {
    expect((await service.json(`//openai//batches${query}`)).status).toBe(200);
    expect((await service.json('/openai/v1/batches/')).status).toBe(200);
  });
});

describe('a request to a batch deployment itself', () => {
  const body = { model: DEPLOYMENT, messages: [] };
  const query = '?api-version=2024-10-21';

  test.each([
    [`/openai/deployments/${DEPLOYMENT}/chat/completions${query}`],
    [`/openai/v1/chat/completions`],
  ])('%s is refused in the words of the original', async (path) => {
    const { status, body: answer } = await service.post(path, body);

    expect(status).toBe(400);
    expect(answer.error).toEqual({
      code: 'OperationNotSupported',
      message:
        'The chatCompletion operation does not work with the specified model, gpt-4o. Please choose different model and try again. You can learn more about which models can be used with each operation here: https://go.microsoft.com/fwlink/?linkid=2197993.',
    });
  });

  test('on /v1 it is refused with a code of OpenAI', async () => {
    const { status, body: answer } = await service.post('/v1/chat/completions', body);

    expect([status, answer.error.code, answer.error.type]).toEqual([
      400,
      'operation_not_supported',
      'invalid_request_error',
    ]);
  });

  test('an unknown deployment is a 404', async () => {
    const classic = await service.post(`/openai/deployments/nope/chat/completions${query}`, body);
    const v1 = await service.post('/v1/embeddings', { ...body, model: 'nope' });

    expect([classic.status, classic.body.error.code]).toEqual([404, 'DeploymentNotFound']);
    expect([v1.status, v1.body.error.code]).toEqual([404, 'model_not_found']);
  });
});

describe('creating', () => {
  const create = async (extra: object, path = '/openai/v1/batches', headers = {}) => {
    const input_file_id = await service.upload(lines(1));
    return service.post(path, batchOn(input_file_id, extra), headers);
  };

  test('keeps metadata at its limits and answers it', async () => {
    const metadata = Object.fromEntries(
      Array.from({ length: 16 }, (_, index) => [`${index}`.padEnd(64, 'k'), 'v'.repeat(512)]),
    );

    const { body } = await create({ metadata });

    expect(body.metadata).toEqual(metadata);
  });

  test('names every bad line at once, in a batch that has failed', async () => {
    const faulty = `${line(0)}\nnot json\n${line(0)}\n{"custom_id":"x"}\n`;

    const batch = await service.createBatch(faulty);

    expect(batch.status).toBe('failed');
    expect(batch.errors.object).toBe('list');
    const faults = batch.errors.data.map(
      ({ code, line: at }: { code: string; line: number }) => `${at} ${code}`,
    );
    expect(faults).toEqual(['2 invalid_json_line', '3 duplicate_custom_id', '4 invalid_request']);
    expect(batch).toMatchObject({ output_file_id: null, error_file_id: null });
  });

  test('twice with one Idempotency-Key makes one batch, and with another body is refused', async () => {
    const input_file_id = await service.upload(lines(1));
    const body = batchOn(input_file_id);
    const headers = { 'idempotency-key': 'create-once' };

    const first = await service.post('/openai/v1/batches', body, headers);
    const again = await service.post('/openai/v1/batches', body, headers);
    const elsewhere = await service.post(
      '/v1/batches',
      { ...body, endpoint: '/v1/chat/completions' },
      headers,
    );
    const other = await service.post('/openai/v1/batches', { ...body, metadata: { a: 'b' } }, headers);

    expect(elsewhere.body.id).toBe(first.body.id);
    expect(again.body.id).toBe(first.body.id);
    expect([other.status, other.body.error.code]).toEqual([422, 'conflict']);
  });

  test('twice without an Idempotency-Key makes two batches', async () => {
    const input_file_id = await service.upload(lines(1));
    const body = batchOn(input_file_id);

    const first = await service.post('/openai/v1/batches', body);
    const again = await service.post('/openai/v1/batches', body);

    expect(again.body.id).not.toBe(first.body.id);
  });

  test('past the enqueued tokens of the deployment is a 400 that scripts find by its code', async () => {
    service.gate.close();
    const big = Array.from({ length: 30 }, (_, index) =>
      line(index).replace(`Question ${index}?`, 'many different words here '.repeat(400)),
    ).join('\n');

    const first = await service.createBatch(big);
    const input_file_id = await service.upload(big);
    const body = batchOn(input_file_id);
    const second = await service.post('/openai/v1/batches', body);
    const third = await service.post('/v1/batches', body);

    expect(first.status).toBe('validating');
    expect([second.status, second.body.error.code]).toEqual([400, 'token_limit_exceeded']);
    expect(second.body.error.message).toContain('100K');
    expect([third.status, third.body.error.code]).toEqual([400, 'token_limit_exceeded']);
    service.gate.open();
    await service.waitFor(first.id, 'completed');
  });
});

describe('cancelling', () => {
  test('a running batch answers cancelling, twice, and ends as cancelled', async () => {
    service.gate.close(1);
    const batch = await service.createBatch(lines(3));
    await service.waitFor(batch.id, 'in_progress');

    const first = await service.post(`/openai/v1/batches/${batch.id}/cancel`);
    // The curl line of the original's documentation sends a GET.
    const second = await service.json(`/v1/batches/${batch.id}/cancel`, { method: 'GET' });

    expect([first.status, first.body.status]).toEqual([200, 'cancelling']);
    expect(second.status).toBe(200);
    expect(second.body.cancelling_at).toBe(first.body.cancelling_at);
    service.gate.open();
    const ended = await service.waitFor(batch.id, 'cancelled');
    expect(ended.request_counts.completed + ended.request_counts.failed).toBe(3);
  });

  test('a batch that has ended is a 400 and not a 409, which SDKs would repeat', async () => {
    const batch = await service.createBatch(lines(1));
    await service.waitFor(batch.id, 'completed');

    const { status, body } = await service.post(`/openai/v1/batches/${batch.id}/cancel`);

    expect([status, body.error.code]).toEqual([400, 'unexpectedEntityState']);
    expect(body.error.message).toBe("Cannot cancel a batch with status 'completed'.");
  });

  test('on /v1 a batch that has ended is a 409, and SDKs are told not to repeat the call', async () => {
    const batch = await service.createBatch(lines(1));
    await service.waitFor(batch.id, 'completed');

    const { status, headers, body } = await service.post(`/v1/batches/${batch.id}/cancel`);

    expect([status, headers.get('x-should-retry')]).toEqual([409, 'false']);
    expect(body.error).toEqual({
      message: "Cannot cancel a batch with status 'completed'.",
      type: 'invalid_request_error',
      param: null,
      code: null,
    });
  });

  test('on /v1 a batch that is cancelled can be cancelled again', async () => {
    service.gate.close(1);
    const batch = await service.createBatch(lines(2));
    await service.waitFor(batch.id, 'in_progress');
    await service.post(`/v1/batches/${batch.id}/cancel`);
    service.gate.open();
    await service.waitFor(batch.id, 'cancelled');

    const again = await service.post(`/v1/batches/${batch.id}/cancel`);

    expect([again.status, again.body.status]).toEqual([200, 'cancelled']);
    expect((await service.post(`/openai/v1/batches/${batch.id}/cancel`)).status).toBe(400);
  });

  test.each([
    ['/batches/batch_x', 'GET', "No batch found with id 'batch_x'.", null],
    ['/batches/batch_x/cancel', 'POST', "No batch found with id 'batch_x'.", null],
    ['/files/file-x', 'GET', 'No such File object: file-x', 'id'],
    ['/files/file-x/content', 'GET', 'No such File object: file-x', 'id'],
  ])('on /v1 %s is absent in the words of OpenAI', async (path, method, message, param) => {
    const { status, body } = await service.json(`/v1${path}`, { method });

    expect(status).toBe(404);
    expect(body.error).toEqual({ message, type: 'invalid_request_error', param, code: null });
  });

  test.each([
    ['no body and no type', {}],
    ['an empty JSON body', { headers: { 'content-type': 'application/json' }, body: '' }],
    ['an empty object', { headers: { 'content-type': 'application/json' }, body: '{}' }],
  ])('takes %s', async (_name, init) => {
    const { status } = await service.json('/openai/v1/batches/batch_x/cancel', { method: 'POST', ...init });

    expect(status).toBe(404);
  });
});
