import { afterAll, beforeAll, expect, test } from 'vitest';
import { lines, startService, type Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const logged = (): Record<string, unknown>[] =>
  service.logged.map((text) => JSON.parse(text) as Record<string, unknown>);

test('a call for a batch or a file names it, and what is no id of ours stays out', async () => {
  const { id, input_file_id: file } = await service.createBatch(lines(1));
  const { output_file_id: output } = await service.waitFor(id, 'completed');
  for (const path of [`/batches/${id}`, `/files/${file}`, `/files/${output}/content`, '/files/canary-secret'])
    await (await service.fetch(`/v1${path}`)).arrayBuffer();

  const calls = logged().filter(({ event, method }) => event === 'request' && method === 'GET');

  expect(calls).toContainEqual(expect.objectContaining({ route: '/v1/batches/:id', batch: id }));
  expect(calls).toContainEqual(expect.objectContaining({ route: '/v1/files/:id', file, status: 200 }));
  expect(calls).toContainEqual(expect.objectContaining({ route: '/v1/files/:id/content', file: output }));
  expect(service.logged.join('\n')).not.toContain('canary');
});

test('a health check is an event of its own, and absent fields are left out', async () => {
  const before = service.logged.length;
  for (const method of ['GET', 'HEAD']) await service.fetch('/healthz', { method, headers: {} });
  await service.fetch('/nothing', { headers: {} });

  const news = logged().slice(before);

  expect(news.map(({ event }) => event)).toEqual(['request.probe', 'request.probe', 'request']);
  expect(Object.keys(news[2] ?? {})).toEqual([
    'event',
    'request',
    'method',
    'route',
    'status',
    'ms',
    'message',
  ]);
});
