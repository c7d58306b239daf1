import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { median, type Measurement } from './measurement.ts';
import { requestFile, startServer } from './server.ts';

const ROUNDS = 21;
const LIMIT_MS = 200;

/** Measures the time from sending the create to the first request at the model server, for a batch of 3 lines. */
export async function firstRequest(): Promise<Measurement> {
  let arrived = Promise.withResolvers<number>();
  const upstream = createServer((request, response) => {
    arrived.resolve(performance.now());
    request
      .resume()
      .on('end', () =>
        response.setHeader('content-type', 'application/json').end('{"choices":[{"message":{}}]}'),
      );
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const { port } = upstream.address() as AddressInfo;
  const server = await startServer({ upstream: `http://127.0.0.1:${port}/v1`, concurrency: 32 });
  try {
    const delaysMs: number[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const fileId = await server.upload(requestFile(3, 300));
      arrived = Promise.withResolvers<number>();
      const beganAt = performance.now();
      const [firstAt] = await Promise.all([arrived.promise, server.runBatch(fileId)]);
      delaysMs.push(firstAt - beganAt);
    }
    const ours = median(delaysMs);
    return {
      name: 'create to first request, 3 lines (the yardstick is the limit)',
      unit: 'ms',
      ours,
      yardstick: LIMIT_MS,
      ratio: ours / LIMIT_MS,
      goal: { ratio: 1, at: 'most' },
    };
  } finally {
    await server.stop();
    upstream.closeAllConnections();
    upstream.close();
  }
}
