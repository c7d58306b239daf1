import { dispatchLoopMs, requestFile, startServer, startUpstream } from './server.ts';
import { median, type Measurement } from './measurement.ts';

const LINES = Number(process.env['BENCH_LINES'] ?? 40_000);
const LINE_BYTES = 1_800;
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);

/** Measures the lines per second of a whole batch, create to completed, against undici's bare dispatch loop at the same concurrency. */
export async function throughput(concurrency: number): Promise<Measurement> {
  const upstream = await startUpstream();
  const server = await startServer({ upstream: upstream.url, concurrency });
  try {
    const content = requestFile(LINES, LINE_BYTES);
    const ours: number[] = [];
    const yardstick: number[] = [];
    for (let round = 0; round <= ROUNDS; round += 1) {
      const { totalMs } = await server.runBatch(await server.upload(content));
      const loopMs = await dispatchLoopMs({
        port: upstream.port,
        concurrency,
        requests: LINES,
        bodyBytes: LINE_BYTES,
      });
      // The first round only warms both up.
      if (round === 0) continue;
      ours.push((LINES / totalMs) * 1_000);
      yardstick.push((LINES / loopMs) * 1_000);
    }
    return {
      name: `whole batch, ${concurrency} in flight`,
      unit: 'lines/s',
      ours: median(ours),
      yardstick: median(yardstick),
      ratio: median(ours.map((rate, round) => rate / (yardstick[round] ?? Number.NaN))),
      goal: { ratio: 0.5, at: 'least' },
    };
  } finally {
    await server.stop();
    upstream.stop();
  }
}

/** Measures the peak memory of the service over 100,000 lines / 180 MB, against 1,000 lines in a fresh service. */
export async function memory(): Promise<Measurement> {
  const [ours, yardstick] = [await peakMiB(100_000), await peakMiB(1_000)];
  return {
    name: 'peak memory, 100,000 lines / 180 MB against 1,000 lines',
    unit: 'MiB',
    ours,
    yardstick,
    ratio: ours / yardstick,
    goal: { ratio: 1.3, at: 'most' },
  };
}

async function peakMiB(lines: number): Promise<number> {
  const upstream = await startUpstream();
  const server = await startServer({ upstream: upstream.url, concurrency: 32 });
  try {
    await server.runBatch(await server.upload(requestFile(lines, LINE_BYTES)));
    return await server.peakMiB();
  } finally {
    await server.stop();
    upstream.stop();
  }
}
