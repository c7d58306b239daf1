import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN_KEY, lines, SUBSCRIPTION, startService, type Service } from './harness.ts';

let service: Service;
let fileId: string;
let batchId: string;
beforeAll(async () => {
  service = await startService();
  const batch = await service.createBatch(lines(3));
  batchId = batch.id;
  fileId = (await service.waitFor(batch.id, 'completed')).output_file_id;
});
afterAll(() => service.close());

/** They differ from answer to answer. */
const FLEETING = [
  'transfer-encoding',
  'x-request-id',
  'apim-request-id',
  'x-ms-request-id',
  'date',
  'connection',
  'keep-alive',
];
const lasting = ({ headers }: Response): [string, string][] =>
  [...headers].filter(([name]) => !FLEETING.includes(name));

describe('HEAD answers as GET does, without the body', () => {
  test.each([
    ['/healthz', 200],
    ['/', 200],
    ['/docs', 200],
    ['/openapi.json', 200],
    ['/openai/v1/files', 200],
    ['/openai/files?api-version=2024-10-21', 200],
    ['/v1/batches', 200],
    ['/v1/batches/BATCH', 200],
    ['/v1/batches/BATCH/output', 200],
    ['/v1/files/FILE', 200],
    ['/v1/files/FILE/content', 200],
    ['/v1/files/FILE/content?offset=1', 200],
    ['/v1/files/none/content', 404],
    ['/v1/models', 200],
    ['/v1/nowhere', 404],
    ['/v1/files?limit=none', 400],
    [
      `/subscriptions/${SUBSCRIPTION}/providers/Microsoft.CognitiveServices/accounts?api-version=2025-09-01`,
      200,
    ],
  ])('%s', async (path, status) => {
    const url = path.replace('BATCH', batchId).replace('FILE', fileId);
    const headers = url.startsWith('/subscriptions') ? { 'api-key': ADMIN_KEY } : {};

    const head = await service.fetch(url, { method: 'HEAD', headers });
    const get = await service.fetch(url, { headers });

    expect([head.status, get.status]).toEqual([status, status]);
    expect(await head.text()).toBe('');
    await get.arrayBuffer();
    expect(lasting(head)).toEqual(lasting(get));
  });

  test('a file in ranges, with its length', async () => {
    const head = await service.fetch(`/v1/files/${fileId}/content`, {
      method: 'HEAD',
      headers: { range: 'bytes=0-9' },
    });

    expect([head.status, head.headers.get('content-length')]).toEqual([206, '10']);
  });

  test('a caller without a key is refused', async () => {
    const head = await service.fetch('/v1/files', { method: 'HEAD', headers: { 'api-key': 'wrong' } });

    expect(head.status).toBe(401);
  });
});

test('HEAD on an address that only changes things is not allowed, and changes nothing', async () => {
  service.gate.close();
  const { id } = await service.createBatch(lines(1));

  const cancel = await service.fetch(`/v1/batches/${id}/cancel`, { method: 'HEAD' });
  const imported = await service.fetch('/v1/files/import', { method: 'HEAD' });

  service.gate.open();
  expect([cancel.status, cancel.headers.get('allow')]).toEqual([405, 'POST, GET']);
  expect(imported.status).toBe(405);
  await service.waitFor(id, 'completed');
});
