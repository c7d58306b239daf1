import { createHash } from 'node:crypto';
import { mkdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { certainPart, recordedResults } from '../../src/http/files/partial-results.ts';
import type { LineResult } from '../../src/stores/state/ports.ts';
import { NO_USAGE } from '../../src/upstream/port.ts';
import { batchOn, KEY_B, RESOURCE_A, line, lines, startService, type Json, type Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
beforeEach(() => service.gate.open());
afterAll(() => service.close());

const content = (id: string, query = '', init: RequestInit = {}) =>
  service.fetch(`/openai/v1/files/${id}/content${query}`, init);

const idsIn = (text: string): string[] =>
  text === ''
    ? []
    : text
        .trimEnd()
        .split('\n')
        .map((result) => JSON.parse(result).custom_id);

/** A batch whose first `answered` lines have results, and whose others wait. */
async function halfway(total: number, answered: number): Promise<Json> {
  service.gate.close(answered);
  const batch = await service.createBatch(lines(total));
  for (;;) {
    const { body } = await service.json(`/openai/v1/batches/${batch.id}`);
    if (body.request_counts.completed === answered) return body;
    await service.deps.clock.sleep(20);
  }
}

describe('while a batch runs', () => {
  test('it shows how far it is', async () => {
    const batch = await halfway(4, 2);

    expect(batch.request_counts).toEqual({ total: 4, completed: 2, failed: 0 });
    expect(batch).toMatchObject({ status: 'in_progress', output_file_id: null, error_file_id: null });
    expect(batch.offpeak).toMatchObject({ progress: 0.5, in_flight: 1, waiting: null, retries: 0 });
    expect(batch.usage.total_tokens).toBe(batch.usage.input_tokens + batch.usage.output_tokens);
    expect(batch.usage.output_tokens).toBeGreaterThan(0);
  });

  test('its output file can be read up to the first line without a result, and continued later', async () => {
    const batch = await halfway(4, 2);
    const id = batch.offpeak.output_file_id;

    const first = await content(id);
    const head = await first.text();

    expect(first.headers.get('x-incomplete')).toBe('true');
    expect(first.headers.get('x-last-line')).toBe('2');
    expect(first.headers.get('content-type')).toBe('application/octet-stream');
    expect(first.headers.get('content-disposition')).toContain('attachment');
    expect(idsIn(head)).toEqual(['task-0', 'task-1']);
    const second = await (await content(id, '?offset=1')).text();
    expect(idsIn(second)).toEqual(['task-1']);
    const none = await content(id, '?offset=2');
    expect([none.status, await none.text()]).toEqual([200, '']);
    expect(await (await content(id, '?offset=1000')).text()).toBe('');

    service.gate.open();
    await service.waitFor(batch.id, 'completed');
    const whole = await content(id);
    const all = await whole.text();
    const rest = await content(id, '?offset=2');
    expect([whole.headers.get('x-incomplete'), whole.headers.get('x-last-line')]).toEqual(['false', '4']);
    expect([rest.headers.get('x-incomplete'), rest.headers.get('x-last-line')]).toEqual(['false', '4']);
    expect(all.startsWith(head)).toBe(true);
    expect(head + (await rest.text())).toBe(all);
  });

  test('an offset may lie beyond the first page of results', async () => {
    const batch = await halfway(1_300, 1_200);

    const answer = await content(batch.offpeak.output_file_id, '?offset=1100');

    expect(answer.headers.get('x-last-line')).toBe('1200');
    expect(idsIn(await answer.text())).toEqual(
      Array.from({ length: 100 }, (_, index) => `task-${1_100 + index}`),
    );
    const output = await service.fetch(`/openai/v1/batches/${batch.id}/output`);
    expect(idsIn(await output.text()).length).toBe(1_200);
    service.gate.open();
    await service.waitFor(batch.id, 'completed');
  });

  test('its results so far can be read by its own id', async () => {
    const batch = await halfway(3, 1);
    const read = (name: string) => service.fetch(`/v1/batches/${batch.id}/${name}`);

    const output = await read('output');
    expect(output.headers.get('x-incomplete')).toBe('true');
    expect(idsIn(await output.text())).toEqual(['task-0']);
    expect(await (await read('errors')).text()).toBe('');

    service.gate.open();
    await service.waitFor(batch.id, 'completed');
    const whole = await read('output');
    expect(whole.headers.get('x-incomplete')).toBe('false');
    expect(idsIn(await whole.text())).toEqual(['task-0', 'task-1', 'task-2']);
    expect(await (await read('errors')).text()).toBe('');
  });

  test("another resource's key sees nothing of it", async () => {
    const batch = await halfway(3, 1);

    const foreign = await service.fetch(`/beta/openai/v1/files/${batch.offpeak.output_file_id}/content`, {
      headers: { 'api-key': KEY_B },
    });

    expect(foreign.status).toBe(404);
  });

  test('its input can be deleted, and it ends all the same', async () => {
    const batch = await halfway(3, 1);

    await service.json(`/openai/v1/files/${batch.input_file_id}`, { method: 'DELETE' });

    service.gate.open();
    expect((await service.waitFor(batch.id, 'completed')).request_counts.completed).toBe(3);
  });
});

describe('results with a line missing between them', () => {
  test('are all in the output so far, and in the file only up to the missing line', async () => {
    service.gate.close();
    const batch = await service.createBatch(lines(5));
    await service.waitFor(batch.id, 'in_progress');
    const live = await service.deps.state.batches.findByProducedFile(
      { resourceId: RESOURCE_A, actor: 'test' },
      batch.offpeak.output_file_id,
    );
    const { state } = service.deps;
    const seq = live?.seq ?? 0;
    const record = (at: number, ok: boolean): LineResult => ({
      batchSeq: seq,
      segmentIndex: 0,
      epoch: 1,
      line: at,
      ok,
      payload: Buffer.from(`{"custom_id":"line ${at}"}`),
      usage: NO_USAGE,
      retries: 0,
    });
    const stale = await state.results.commit([record(2, true), record(3, false), record(5, true)]);
    expect(stale).toEqual([]);

    const certain = await content(batch.offpeak.output_file_id);
    expect([certain.headers.get('x-last-line'), await certain.text()]).toEqual(['0', '']);
    const output = await service.fetch(`/openai/v1/batches/${batch.id}/output`);
    expect(idsIn(await output.text())).toEqual(['line 2', 'line 5']);
    const errors = await service.fetch(`/openai/v1/batches/${batch.id}/errors`);
    expect(idsIn(await errors.text())).toEqual(['line 3']);

    await state.results.commit([record(1, true)]);
    const further = await content(batch.offpeak.output_file_id);
    expect(further.headers.get('x-last-line')).toBe('2');
    expect(idsIn(await further.text())).toEqual(['line 1', 'line 2']);
    const failures = await content(batch.offpeak.error_file_id);
    expect([failures.headers.get('x-last-line'), idsIn(await failures.text())]).toEqual(['1', ['line 3']]);
    await service.post(`/openai/v1/batches/${batch.id}/cancel`);
    await service.waitFor(batch.id, 'cancelled');
  });
});

describe('a batch that ends while its results are read', () => {
  const reading = async () => {
    const { id, offpeak } = await halfway(6, 4);
    const { state, blobs } = service.deps;
    const batch = await state.batches.findByProducedFile(
      { resourceId: RESOURCE_A, actor: 'test' },
      offpeak.output_file_id,
    );
    if (batch === undefined) throw new Error('the batch is not there');
    const source = { state, blobs, batch, ok: true };
    const finish = async (): Promise<void> => {
      service.gate.open();
      await service.waitFor(id, 'completed');
      while (await state.results.purge(1_000));
    };
    return { source, finish };
  };

  test('is read on from its file, up to the line that the header announced', async () => {
    const { source, finish } = await reading();
    const certain = await certainPart(source);
    const lazy = certain.read(1);

    await finish();

    expect(certain.lines).toBe(4);
    expect(idsIn(await drain(lazy))).toEqual(['task-1', 'task-2', 'task-3']);
  });

  test('breaks off the results so far rather than omit some', async () => {
    const { source, finish } = await reading();
    const lazy = recordedResults(source);

    await finish();

    await expect(drain(lazy)).rejects.toThrow('read them again');
  });
});

async function drain(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

describe('when a batch has ended', () => {
  test('a cancelled one has what was done in one file and what was not in the other', async () => {
    const batch = await halfway(4, 2);
    await service.post(`/openai/v1/batches/${batch.id}/cancel`);
    const ended = await service.waitFor(batch.id, 'cancelled');

    expect(idsIn(await (await content(ended.output_file_id)).text())).toEqual(['task-0', 'task-1']);
    const errors = (await (await content(ended.error_file_id)).text()).trimEnd().split('\n');
    expect(errors.map((text) => JSON.parse(text).error.code)).toEqual(['batch_cancelled', 'batch_cancelled']);
  });

  test('one that failed validation has no files, under any id', async () => {
    const batch = await service.createBatch('not json\n');

    expect(batch.status).toBe('failed');
    expect((await content(batch.offpeak.output_file_id)).status).toBe(404);
    const output = await service.fetch(`/openai/v1/batches/${batch.id}/output`);
    expect([output.status, await output.text()]).toEqual([200, '']);
  });

  test('one whose deployment is unknown names it', async () => {
    const batch = await service.createBatch(`${line(0, 'nobody')}\n`);

    expect(batch.errors.data[0]).toMatchObject({ code: 'model_not_found', line: 1 });
    expect(batch.errors.data[0].message).toContain('nobody');
  });

  test('a deleted output is gone, by its id and by the id of its batch', async () => {
    const batch = await service.createBatch(lines(1));
    const ended = await service.waitFor(batch.id, 'completed');

    await service.json(`/openai/v1/files/${ended.output_file_id}`, { method: 'DELETE' });

    expect((await content(ended.output_file_id)).status).toBe(404);
    expect((await service.fetch(`/openai/v1/batches/${batch.id}/output`)).status).toBe(404);
    expect((await service.json(`/openai/v1/batches/${batch.id}`)).body.output_file_id).toBe(
      ended.output_file_id,
    );
  });
});

describe.each([
  ['gone', (path: string) => rm(path)],
  ['shortened', (path: string) => truncate(path, 40)],
  ['changed', async (path: string) => writeFile(path, Buffer.alloc((await stat(path)).size, 'x'))],
  [
    'a directory',
    async (path: string) => {
      await rm(path);
      await mkdir(path);
    },
  ],
] as const)('a file whose bytes are %s', (_, harm) => {
  test.each([
    ['whole', '', {}],
    ['in a range', '', { headers: { range: 'bytes=0-3' } }],
    ['from a line on', '?offset=1', {}],
  ])('is not sent %s, and the answer says that it is damaged', async (__, query, init) => {
    const id = await service.upload(lines(2));
    await harm(openedPath(id));

    const answer = await service.json(`/openai/v1/files/${id}/content${query}`, init);

    expect([answer.status, answer.body.error.code]).toEqual([500, 'fileDamaged']);
    expect(answer.body.error.message).toContain(id);
    expect(answer.body.error.message).not.toContain(service.dir);
    for (const name of ['content-disposition', 'etag', 'content-range', 'x-incomplete'])
      expect(answer.headers.get(name)).toBeNull();
    expect(service.logged.join('\n')).toContain(openedPath(id));
  });
});

const openedPath = (id: string): string => {
  const hash = createHash('sha256').update(id).digest('hex');
  return join(service.dir, 'blobs', hash.slice(0, 2), hash.slice(2, 4), id);
};

describe('a range of a file', () => {
  const TEXT = '0123456789\n';

  test.each([
    ['bytes=0-3', 206, '0123', 'bytes 0-3/11'],
    ['bytes=4-', 206, '456789\n', 'bytes 4-10/11'],
    ['bytes=-2', 206, '9\n', 'bytes 9-10/11'],
    ['bytes=0-1,3-4', 200, TEXT, null],
    ['lines=1-2', 200, TEXT, null],
  ])('%s', async (range, status, body, contentRange) => {
    const id = await service.upload(TEXT);

    const answer = await content(id, '', { headers: { range } });

    expect([answer.status, await answer.text()]).toEqual([status, body]);
    expect(answer.headers.get('content-range')).toBe(contentRange);
    expect(answer.headers.get('content-length')).toBe(`${body.length}`);
    expect(answer.headers.get('accept-ranges')).toBe('bytes');
  });

  test('outside of the file is 416 with the size', async () => {
    const id = await service.upload(TEXT);

    const answer = await service.json(`/v1/files/${id}/content`, { headers: { range: 'bytes=11-' } });

    expect([answer.status, answer.body.error.code]).toEqual([416, 'range_not_satisfiable']);
    expect(answer.headers.get('content-range')).toBe('bytes */11');
    expect(answer.headers.get('content-type')).toContain('application/json');
    expect(answer.headers.get('content-disposition')).toBeNull();
  });

  test('of another version of the file is the whole file', async () => {
    const id = await service.upload(TEXT);
    const etag = (await content(id)).headers.get('etag') ?? '';

    const same = await content(id, '', { headers: { range: 'bytes=0-3', 'if-range': etag } });
    const other = await content(id, '', { headers: { range: 'bytes=0-3', 'if-range': '"other"' } });

    expect([same.status, other.status]).toEqual([206, 200]);
  });
});

test('a download that is broken off harms nobody', async () => {
  const id = await service.upload(lines(20_000));
  for (let count = 0; count < 5; count++) {
    const abort = new AbortController();
    const answer = await content(id, '', { signal: abort.signal });
    await answer.body?.getReader().read();
    abort.abort();
  }

  expect((await (await content(id)).text()).length).toBe(lines(20_000).length);
});

describe('a batch that has ended names no file that is not there', () => {
  test.each([
    ['failed before anything was sent', '/openai/v1', '{}', 'failed', false, false],
    ['without a failure, on /v1', '/v1', lines(1).replaceAll('"/', '"/v1/'), 'completed', true, false],
    ['without a failure, on /openai/v1', '/openai/v1', lines(1), 'completed', true, true],
  ])('%s', async (_what, root, input, status, hasOutput, hasErrors) => {
    const input_file_id = await service.upload(input);
    const { body } = await service.post(
      `${root}/batches`,
      batchOn(input_file_id, { endpoint: '/v1/chat/completions' }),
    );
    await service.waitFor(body.id, status);

    const batch = (await service.json(`${root}/batches/${body.id}`)).body;

    const named = [batch.offpeak.output_file_id, batch.offpeak.error_file_id];
    expect(named).toEqual([batch.output_file_id, batch.error_file_id]);
    expect(named.map((id) => id !== null)).toEqual([hasOutput, hasErrors]);
    for (const id of named.filter((one) => one !== null))
      expect((await service.fetch(`${root}/files/${id}`)).status).toBe(200);
  });
});
