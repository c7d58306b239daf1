/** Uploads in parts, on every surface. */
import { createHash, randomBytes } from 'node:crypto';
import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INPUT_BYTES_MAX } from '../../src/contract/batch.ts';
import { PART_BYTES_MAX } from '../../src/contract/upload.ts';
import { batchOn, KEY_A, KEY_B, lines, startService, type Json, type Service } from './harness.ts';

let service: Service;
let nowMs = Date.now();
beforeAll(async () => {
  service = await startService({ clock: { now: () => nowMs } });
});
afterAll(() => service.close());

const SURFACES: [name: string, root: string, query: string][] = [
  ['/openai/v1', '/openai/v1', ''],
  ['/v1', '/v1', ''],
  ['/openai with an api-version', '/openai', '?api-version=2024-10-21'],
  ['the path of a resource', '/default/openai/v1', ''],
  ['the path of a resource, as OpenAI', '/default/v1', ''],
];

const START = { purpose: 'batch', filename: 'in.jsonl', mime_type: 'application/jsonl' };
const start = async (bytes: number, extra = {}, root = '/v1'): Promise<string> => {
  const { status, body } = await service.post(`${root}/uploads`, { ...START, bytes, ...extra });
  expect([status, body.error]).toEqual([200, undefined]);
  return body.id;
};
const partForm = (content: string | Uint8Array<ArrayBuffer>): FormData => {
  const form = new FormData();
  form.append('data', new Blob([content]), 'blob');
  return form;
};
const addPart = (id: string, content: string | Uint8Array<ArrayBuffer>, root = '/v1', query = '') =>
  service.post(`${root}/uploads/${id}/parts${query}`, partForm(content));
const part = async (id: string, content: string | Uint8Array<ArrayBuffer>): Promise<string> => {
  const { status, body } = await addPart(id, content);
  expect([status, body.error]).toEqual([200, undefined]);
  return body.id;
};
const complete = (id: string, part_ids: unknown, extra = {}) =>
  service.post(`/v1/uploads/${id}/complete`, { part_ids, ...extra });
const cancel = (id: string) => service.post(`/v1/uploads/${id}/cancel`);
const blobs = async (): Promise<string[]> => {
  const ids: string[] = [];
  for await (const id of service.deps.blobs.list()) ids.push(id);
  return ids;
};
const md5 = (text: string) => createHash('md5').update(text).digest('hex');

describe.each(SURFACES)('under %s', (_name, root, query) => {
  const isAzure = root.includes('openai');
  const blockOf = (id: string) => (isAzure ? { azure_block_id: Buffer.from(id).toString('base64') } : {});

  test('parts in any order become the file in the order asked for, and a batch runs on it', async () => {
    const content = lines(4);
    const cut = [content.slice(0, 100), content.slice(100, 101), content.slice(101)];
    const started = await service.post(`${root}/uploads${query}`, { ...START, bytes: content.length });
    const { id } = started.body;
    expect(started.status).toBe(200);
    expect(started.headers.get('location')).toBe(`${root}/uploads/${id}${query}`);
    expect(started.body).toEqual({
      id: expect.stringMatching(/^upload_[0-9a-f]{32}$/),
      object: 'upload',
      bytes: content.length,
      created_at: expect.any(Number),
      expires_at: started.body.created_at + 7_200,
      filename: 'in.jsonl',
      purpose: 'batch',
      status: 'pending',
      file: null,
    });

    const ids: string[] = [];
    for (const index of [2, 0, 1]) {
      const { status, body } = await addPart(id, cut[index] ?? '', root, query);
      expect([status, body]).toEqual([
        200,
        {
          id: expect.stringMatching(/^part_[0-9a-f]{32}$/),
          object: 'upload.part',
          created_at: expect.any(Number),
          upload_id: id,
          ...blockOf(body.id),
        },
      ]);
      ids[index] = body.id;
    }
    const done = await service.post(`${root}/uploads/${id}/complete${query}`, {
      part_ids: ids,
      md5: md5(content),
    });

    expect(done.status).toBe(200);
    expect(done.body).toEqual({
      ...started.body,
      status: 'completed',
      file: expect.objectContaining({
        object: 'file',
        bytes: content.length,
        filename: 'in.jsonl',
        purpose: 'batch',
        status: 'processed',
      }),
    });
    const { file } = done.body;
    const read = await service.fetch(`${root}/files/${file.id}/content${query}`);
    expect(await read.text()).toBe(content);
    expect((await service.json(`${root}/files/${file.id}${query}`)).body).toEqual(file);
    const batch = await service.post(`${root}/batches${query}`, batchOn(file.id));
    const ended = await service.waitFor(batch.body.id, 'completed');
    expect(ended.request_counts).toEqual({ total: 4, completed: 4, failed: 0 });
  });

  test('a filename with another extension is refused, and the error names the parameter', async () => {
    const { status, body } = await service.post(`${root}/uploads${query}`, {
      ...START,
      bytes: 2,
      filename: 'in.pdf',
    });

    expect([status, body.error[isAzure ? 'target' : 'param']]).toEqual([400, 'filename']);
  });

  test('a cancelled upload refuses everything more, and its parts are gone', async () => {
    const before = await blobs();
    const { id } = (await service.post(`${root}/uploads${query}`, { ...START, bytes: 2 })).body;
    const first = await addPart(id, '{}', root, query);

    const cancelled = await service.post(`${root}/uploads/${id}/cancel${query}`, undefined);

    expect([cancelled.status, cancelled.body.status]).toEqual([200, 'cancelled']);
    expect(await blobs()).toEqual(before);
    const again = await service.post(`${root}/uploads/${id}/cancel${query}`, undefined);
    expect(again.body).toEqual(cancelled.body);
    for (const late of [
      await addPart(id, '{}', root, query),
      await service.post(`${root}/uploads/${id}/complete${query}`, { part_ids: [first.body.id] }),
    ]) {
      expect([late.status, late.body.error.code]).toEqual([
        400,
        isAzure ? 'unexpectedEntityState' : 'upload_not_pending',
      ]);
      expect(late.body.error.message).toContain('was cancelled');
    }
    expect(await blobs()).toEqual(before);
  });

  test.each(['parts', 'complete', 'cancel'])('an upload that is not there is a 404 (%s)', async (call) => {
    const init = call === 'parts' ? { method: 'POST', body: partForm('x') } : undefined;
    const { status, body } = init
      ? await service.json(`${root}/uploads/upload_none/${call}${query}`, init)
      : await service.post(`${root}/uploads/upload_none/${call}${query}`, { part_ids: [] });

    expect([status, body.error.code]).toEqual([404, isAzure ? 'notFound' : null]);
    expect(body.error.message).toContain("'upload_none'");
  });
});

describe('a start is refused', () => {
  test.each<[string, Json, number, RegExp, string]>([
    ['without bytes', { bytes: undefined }, 400, /Missing required parameter: 'bytes'/, 'bytes'],
    ['without a name', { filename: undefined }, 400, /Missing required parameter: 'filename'/, 'filename'],
    ['without a type', { mime_type: undefined }, 400, /Missing required parameter: 'mime_type'/, 'mime_type'],
    ['without a purpose', { purpose: undefined }, 400, /Missing required parameter: 'purpose'/, 'purpose'],
    [
      'with another purpose',
      { purpose: 'assistants', bytes: -1 },
      400,
      /Invalid value for purpose/,
      'purpose',
    ],
    ['with fewer bytes than none', { bytes: -1 }, 400, /'bytes'/, 'bytes'],
    ['with half a byte', { bytes: 1.5 }, 400, /'bytes'/, 'bytes'],
    ['with bytes in words', { bytes: '12' }, 400, /'bytes'/, 'bytes'],
    ['with too many bytes', { bytes: INPUT_BYTES_MAX + 1 }, 413, new RegExp(`${INPUT_BYTES_MAX}`), 'bytes'],
    ['with more bytes than a number holds', { bytes: 1e300 }, 400, /'bytes'/, 'bytes'],
    ['with a foreign extension', { filename: 'in.csv' }, 400, /jsonl/, 'filename'],
    [
      'with half an expiry',
      { expires_after: { seconds: 1_209_600 } },
      400,
      /'expires_after\.anchor'/,
      'expires_after.anchor',
    ],
  ])('%s', async (_name, extra, status, message, param) => {
    const answer = await service.post('/v1/uploads', { ...START, bytes: 1, ...extra });

    expect([answer.status, answer.body.error.type]).toEqual([status, 'invalid_request_error']);
    expect(answer.body.error.message).toMatch(message);
    expect(answer.body.error.param).toBe(param);
  });
});

test('a name without an extension is taken, and an expiry counts from the creation of the file', async () => {
  const id = await start(2, { filename: 'upload', expires_after: { anchor: 'created_at', seconds: 3_600 } });

  const { body } = await complete(id, [await part(id, '{}')]);

  expect(body.file.filename).toBe('upload');
  expect(body.file.expires_at).toBe(body.file.created_at + 3_600);
});

test('a file of no bytes needs no parts', async () => {
  const { status, body } = await complete(await start(0), []);

  expect([status, body.file.bytes]).toEqual([200, 0]);
});

describe('a completion is refused, and a corrected one succeeds', () => {
  test.each<[string, (first: string, second: string) => Json, RegExp]>([
    ['with fewer bytes than announced', (first) => ({ part_ids: [first] }), /3 bytes together.*for 6/],
    ['with a part twice', (first) => ({ part_ids: [first, first] }), /named twice/],
    ['with a part that is not there', (first) => ({ part_ids: [first, 'part_none'] }), /no part 'part_none'/],
    ['without parts', () => ({ part_ids: [] }), /0 bytes together/],
    ['without a list', () => ({}), /Missing required parameter: 'part_ids'/],
    ['with a list of numbers', () => ({ part_ids: [1] }), /part_ids/],
    [
      'with the MD5 of another order',
      (first, second) => ({ part_ids: [first, second], md5: md5('defabc') }),
      /'md5'.*have the MD5 e80b5017098950fc58aad83c8c14978e/,
    ],
    ['with an MD5 that is none', (first, second) => ({ part_ids: [first, second], md5: 'x' }), /'md5'/],
  ])('%s', async (_name, body, message) => {
    const id = await start(6);
    const [first, second] = [await part(id, 'abc'), await part(id, 'def')];
    const before = await blobs();

    const answer = await service.post(`/v1/uploads/${id}/complete`, body(first, second));

    expect(answer.status).toBe(400);
    expect(answer.body.error.message).toMatch(message);
    expect((await blobs()).toSorted()).toEqual(before.toSorted());
    const right = await complete(id, [second, first], { md5: md5('defabc') });
    expect([right.status, right.body.file.bytes]).toEqual([200, 6]);
    expect(await (await service.fetch(`/v1/files/${right.body.file.id}/content`)).text()).toBe('defabc');
  });

  test('with parts of another upload', async () => {
    const other = await part(await start(3), 'abc');
    const id = await start(3);

    const { status, body } = await complete(id, [other]);

    expect([status, body.error.param]).toEqual([400, 'part_ids']);
  });

  test('when the resource has all the files that it may', async () => {
    await using small = await startService({ filesMax: 1 });
    const file = await small.upload('{}');
    const call = (path: string, body: object) => small.post(`/v1/uploads${path}`, body);
    const { id } = (await call('', { ...START, bytes: 2 })).body;
    const added = await small.post(`/v1/uploads/${id}/parts`, partForm('{}'));
    const part_ids = [added.body.id];

    const full = await call(`/${id}/complete`, { part_ids });
    await small.json(`/v1/files/${file}`, { method: 'DELETE' });
    const free = await call(`/${id}/complete`, { part_ids });

    expect([full.status, full.body.error.code]).toEqual([400, 'file_quota_exceeded']);
    expect([free.status, free.body.status]).toEqual([200, 'completed']);
  });
});

describe('a completed upload', () => {
  test('answers a repeated completion as before, and other calls with a 400', async () => {
    const id = await start(2);
    const first = await part(id, '{}');
    const done = await complete(id, [first]);

    const again = await complete(id, [first]);

    expect(again.body).toEqual(done.body);
    for (const other of [await complete(id, []), await cancel(id), await addPart(id, '{}')]) {
      expect([other.status, other.body.error.code]).toEqual([400, 'upload_not_pending']);
      expect(other.body.error.message).toContain('is completed already');
    }
  });

  test('is made once by completions that come at the same time', async () => {
    const before = (await service.json('/v1/files')).body.data.length;
    const id = await start(2);
    const first = await part(id, '{}');

    const answers = await Promise.all(Array.from({ length: 8 }, () => complete(id, [first])));

    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => body.file.id)).size).toBe(1);
    expect((await service.json('/v1/files')).body.data.length).toBe(before + 1);
  });

  test('has only the bytes of its file left, whatever parts it had', async () => {
    const before = await blobs();
    const id = await start(2);
    await part(id, 'not used');
    const { body } = await complete(id, [await part(id, '{}')]);

    expect(new Set(await blobs())).toEqual(new Set([...before, body.file.id]));
  });
});

describe('a part', () => {
  test('of any bytes is stored as it is, up to 64 MiB', async () => {
    const bytes = randomBytes(PART_BYTES_MAX);
    const id = await start(PART_BYTES_MAX + 1);

    const whole = await part(id, bytes);
    const over = await addPart(id, Buffer.concat([bytes, bytes.subarray(0, 1)]));
    const { body } = await complete(id, [await part(id, 'x'), whole]);

    expect([over.status, over.body.error.code]).toEqual([413, 'file_too_large']);
    expect(over.body.error.message).toContain(`${PART_BYTES_MAX}`);
    const read = Buffer.from(await (await service.fetch(`/v1/files/${body.file.id}/content`)).arrayBuffer());
    expect(read.equals(Buffer.concat([Buffer.from('x'), bytes]))).toBe(true);
  });

  test('without a file name is taken, as is one with an own type', async () => {
    const id = await start(2);
    const form =
      '--b\r\nContent-Disposition: form-data; name="data"\r\nContent-Type: application/octet-stream\r\n\r\n{}\r\n--b--\r\n';

    const { status, body } = await service.json(`/v1/uploads/${id}/parts`, {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=b' },
      body: form,
    });

    expect(status).toBe(200);
    expect((await complete(id, [body.id])).body.file.bytes).toBe(2);
  });

  test.each<[string, string | FormData, string | undefined, number, RegExp]>([
    ['under another name', formOf('file', 'x'), undefined, 400, /Name it 'data'/],
    ['that is not there', formOf('data', null), undefined, 400, /Missing required parameter: 'data'/],
    ['in JSON', '{}', 'application/json', 415, /multipart\/form-data with the part data/],
    ['cut off', '--b\r\nContent-Dispo', 'multipart/form-data; boundary=b', 400, /cut off|'data'/],
  ])('%s is refused', async (_name, body, type, status, message) => {
    const before = await blobs();
    const id = await start(2);

    const answer = await service.json(`/v1/uploads/${id}/parts`, {
      method: 'POST',
      headers: type === undefined ? {} : { 'content-type': type },
      body,
    });

    expect(answer.status).toBe(status);
    expect(answer.body.error.message).toMatch(message);
    expect(await blobs()).toEqual(before);
  });

  test('is one of 1,000 at most, and all are of 400 MiB at most', async () => {
    const id = await start(2);
    const { state } = service.deps;
    const scope = { resourceId: 'default', actor: 'test' };
    const stored = { blobId: '', uploadId: id, bytes: 0, sha256: '', createdAt: 0 };
    for (let n = 0; n < 1_000; n++)
      await state.uploads.addPart(
        scope,
        { ...stored, id: `part_${id}_${n}`, blobId: `part-${id}-${n}` },
        { partsMax: 1_000, partBytesMax: 1, atS: 0 },
      );

    const { status, body } = await addPart(id, '{}');

    expect([status, body.error.code]).toEqual([400, 'upload_quota_exceeded']);
    expect(body.error.message).toContain('1000 parts');
    await cancel(id);
  });
});

test.each([
  ['changed', (path: string) => writeFile(path, 'xyz')],
  ['shortened', (path: string) => truncate(path, 1)],
  ['gone', (path: string) => rm(path)],
])('a part whose bytes on the disk are %s makes no file, and can be sent again', async (_name, harm) => {
  const id = await start(6);
  const [whole, bad] = [await part(id, 'abc'), await part(id, 'def')];
  const names = await readdir(join(service.dir, 'blobs'), { recursive: true });
  const name = names.find((path) => path.endsWith(bad.replace('_', '-')));
  await harm(join(service.dir, 'blobs', name ?? ''));

  const refused = await complete(id, [whole, bad]);
  const again = await complete(id, [whole, await part(id, 'def')]);

  expect([refused.status, refused.body.error.code]).toEqual([400, 'upload_part_damaged']);
  expect(refused.body.error.message).toContain(`'${bad}'`);
  expect([again.status, again.body.file.bytes]).toEqual([200, 6]);
});

test('a cancel and a completion at once: one of them holds, and nothing is half made', async () => {
  for (let n = 0; n < 10; n++) {
    const before = await blobs();
    const id = await start(2);
    const first = await part(id, '{}');

    const [done, cancelled] = await Promise.all([complete(id, [first]), cancel(id)]);

    expect([done.status, cancelled.status].toSorted((one, other) => one - other)).toEqual([200, 400]);
    const made = done.status === 200 ? [done.body.file.id] : [];
    expect(new Set(await blobs())).toEqual(new Set([...before, ...made]));
  }
});

test('a resource has 100 uploads that are under way at most', async () => {
  const headers = { 'api-key': KEY_B };
  const begin = () => service.post('/beta/v1/uploads', { ...START, bytes: 1 }, headers);
  const ids: string[] = [];
  for (let n = 0; n < 100; n++) ids.push((await begin()).body.id);

  const over = await begin();
  await service.post(`/beta/v1/uploads/${ids[0]}/cancel`, undefined, headers);
  const free = await begin();

  expect([over.status, over.body.error.code]).toEqual([400, 'upload_quota_exceeded']);
  expect(over.body.error.message).toContain('100 uploads');
  expect(free.status).toBe(200);
});

test('an upload of another resource is absent', async () => {
  const id = await start(2);
  const mine = await part(id, '{}');
  const headers = { 'api-key': KEY_B };
  const answers = [
    await service.json(`/beta/v1/uploads/${id}/parts`, { method: 'POST', headers, body: partForm('{}') }),
    await service.post(`/beta/v1/uploads/${id}/complete`, { part_ids: [mine] }, headers),
    await service.post(`/beta/v1/uploads/${id}/cancel`, undefined, headers),
  ];

  for (const { status, body } of answers)
    expect([status, body.error.message]).toEqual([
      404,
      `No upload with the id '${id}' exists in this resource.`,
    ]);
  expect((await complete(id, [mine])).status).toBe(200);
});

test('two hours after its start an upload has expired, and its parts go with the next sweep', async () => {
  const id = await start(2);
  const first = await part(id, '{}');
  expect(await blobs()).toContain(first.replace('_', '-'));

  nowMs += 7_200_000;
  try {
    for (const late of [await addPart(id, '{}'), await complete(id, [first]), await cancel(id)]) {
      expect([late.status, late.body.error.code]).toEqual([400, 'upload_not_pending']);
      expect(late.body.error.message).toContain('has expired');
    }
    await service.uploader.deleteExpired();
    expect(await blobs()).not.toContain(first.replace('_', '-'));
    expect((await addPart(id, '{}')).body.error.message).toContain('has expired');
    nowMs += 86_400_000;
    await service.uploader.deleteExpired();
    expect((await addPart(id, '{}')).status).toBe(404);
  } finally {
    nowMs -= 93_600_000;
  }
});

test('GET, PUT and DELETE are 405 on uploads', async () => {
  const id = await start(2);
  for (const [method, path] of [
    ['GET', '/v1/uploads'],
    ['DELETE', `/v1/uploads/${id}/parts`],
    ['PUT', `/v1/uploads/${id}/complete`],
  ] as const) {
    const { status } = await service.json(path, { method, headers: { 'api-key': KEY_A } });
    expect(status).toBe(405);
  }
});

function formOf(name: string, content: string | null): FormData {
  const form = new FormData();
  if (content === null) form.append('color', 'blue');
  else form.append(name, new Blob([content]), 'blob');
  return form;
}
