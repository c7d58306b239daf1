/** Uploads in parts with the official SDK, also as the helper of openai-python sends them. */
import { createHash } from 'node:crypto';
import { BadRequestError, NotFoundError, toFile, type OpenAI } from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { KEY_A, lines, RESOURCE_A, startService, type Service } from '../contract/harness.ts';
import { CLIENTS } from './clients.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

describe.each(CLIENTS)('$name', ({ create: createAt }) => {
  const create = () => createAt(`${service.url}/${RESOURCE_A}`, KEY_A);
  const content = lines(50);
  const start = (client: OpenAI) =>
    client.uploads.create({
      bytes: content.length,
      filename: 'in.jsonl',
      mime_type: 'application/jsonl',
      purpose: 'batch',
    });

  test('a file is uploaded in parts, completed with its digest, and a batch runs on it', async () => {
    const client = create();
    const upload = await start(client);
    expect([upload.object, upload.status, upload.expires_at - upload.created_at]).toEqual([
      'upload',
      'pending',
      7_200,
    ]);
    // `upload_file_chunked` sends pieces of one size, as bytes without a name.
    const pieces = content.match(/[^]{1,3000}/g) ?? [];
    const parts = await Promise.all(
      pieces.map(async (piece) =>
        client.uploads.parts.create(upload.id, { data: await toFile(Buffer.from(piece), 'upload') }),
      ),
    );

    const done = await client.uploads.complete(upload.id, {
      part_ids: parts.map(({ id }) => id),
      md5: createHash('md5').update(content).digest('hex'),
    });

    expect([done.status, done.file?.bytes]).toEqual(['completed', content.length]);
    expect(parts[0]).toMatchObject({ object: 'upload.part', upload_id: upload.id });
    expect(await (await client.files.content(done.file?.id ?? '')).text()).toBe(content);
    const batch = await client.batches.create({
      input_file_id: done.file?.id ?? '',
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    const ended = await service.waitFor(batch.id, 'completed');
    expect(ended.request_counts.completed).toBe(50);
  });

  test('a cancelled upload takes no parts, and one that is not there is not found', async () => {
    const client = create();
    const upload = await start(client);

    expect((await client.uploads.cancel(upload.id)).status).toBe('cancelled');

    const data = await toFile(Buffer.from('x'), 'upload');
    await expect(client.uploads.parts.create(upload.id, { data })).rejects.toThrow(BadRequestError);
    await expect(client.uploads.complete(upload.id, { part_ids: [] })).rejects.toThrow(BadRequestError);
    await expect(client.uploads.cancel('upload_none')).rejects.toThrow(NotFoundError);
  });
});
