import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createLog } from '../../src/core/log.ts';
import { form, lines, startService, type Service } from './harness.ts';

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

  // A call is logged after its answer was sent.
  await vi.waitFor(() => {
    for (const call of [
      { route: '/v1/batches/:id', batch: id },
      { route: '/v1/files/:id', file, status: 200 },
      { route: '/v1/files/:id/content', file: output },
      { route: '/v1/files/:id', status: 404 },
    ])
      expect(logged()).toContainEqual(expect.objectContaining({ event: 'request', method: 'GET', ...call }));
  });
  expect(service.logged.join('\n')).not.toContain('canary');
});

test('a health check is an event of its own, and absent fields are left out', async () => {
  const before = service.logged.length;
  for (const method of ['GET', 'HEAD']) await service.fetch('/healthz', { method, headers: {} });
  await service.fetch('/nothing', { headers: {} });

  const news = await vi.waitFor(() => {
    const calls = logged().slice(before);
    expect(calls.filter(({ route }) => route === 'none')).toHaveLength(1);
    return calls;
  });

  expect(news.map(({ event }) => event)).toEqual(['request.probe', 'request.probe', 'request']);
  expect(Object.keys(news[2] ?? {})).toEqual([
    'event',
    'request',
    'method',
    'route',
    'status',
    'ms',
    'caller',
    'message',
  ]);
});

test('a log that fails changes no answer, and errors keep their dialect', async () => {
  const full = createLog(() => {
    throw new Error('ENOSPC: no space left on device');
  });
  await using broken = await startService({
    wrap: (deps) => ({
      ...deps,
      log: full,
      state: {
        ...deps.state,
        files: { ...deps.state.files, get: () => Promise.reject(new TypeError('a bug')) },
      },
    }),
  });
  const uploaded = await broken.post('/v1/files', form(lines(1)));
  const [openai, azure] = [
    await broken.json('/v1/files/file-1'),
    await broken.json('/openai/files/file-1?api-version=2024-10-21'),
  ];

  expect(uploaded.status).toBe(200);
  expect(openai).toMatchObject({ status: 500, body: { error: { type: 'server_error' } } });
  expect(azure).toMatchObject({ status: 500, body: { error: { code: expect.any(String) } } });
  for (const { body } of [openai, azure]) expect(body).not.toHaveProperty('statusCode');
});
