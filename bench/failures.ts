import { startLedgerUpstream, type LedgerScript } from '../test/support/ledger-upstream.ts';
import type { Measurement } from './measurement.ts';
import { dispatchLoopMs, requestFile, startServer } from './server.ts';

const LINES = Number(process.env['BENCH_LINES'] ?? 6_400);
const LINE_BYTES = 600;
const CONCURRENCY = 64;
const LATENCY_MS = 200;

/** Measures a batch at a model server that takes 200 ms, and answers this share of the calls with 500. */
export const alone = (share: number): Promise<Measurement> =>
  measure(`${share * 100} % of the calls get a 500`, [{ statusChances: { 500: share } }]);

/** Measures a batch at a healthy server, beside a second one that always answers 429. */
export const besideThrottled = (): Promise<Measurement> =>
  measure('beside an upstream that always answers 429', [{}, { statusChances: { 429: 1 } }]);

/** Compares lines per second with a loop that keeps as many requests in flight at a server that fails none. */
async function measure(what: string, scripts: readonly LedgerScript[]): Promise<Measurement> {
  const upstreams = await Promise.all(
    scripts.map((script, index) =>
      startLedgerUpstream({
        script: { latencyMs: LATENCY_MS, ...script },
        seed: index + 1,
        answerBytes: 400,
      }),
    ),
  );
  const server = await startServer({
    upstream: upstreams.map(({ url }) => url),
    concurrency: CONCURRENCY,
    model: 'ledger',
  });
  try {
    const { totalMs, completed } = await server.runBatch(await server.upload(requestFile(LINES, LINE_BYTES)));
    if (completed !== LINES) throw new Error(`${completed} of ${LINES} lines were answered`);
    const ours = (LINES / totalMs) * 1_000;
    const yardstick = await idealPerSecond();
    return {
      name: `${what}, ${CONCURRENCY} in flight, ${LATENCY_MS} ms`,
      unit: 'lines/s',
      ours,
      yardstick,
      ratio: ours / yardstick,
      goal: { ratio: 0.9, at: 'least' },
    };
  } finally {
    await server.stop();
    for (const upstream of upstreams) await upstream.stop();
  }
}

let ideal: Promise<number> | undefined;

/** The loop is measured once a run, as the latency decides, and not the machine. */
function idealPerSecond(): Promise<number> {
  ideal ??= (async () => {
    const upstream = await startLedgerUpstream({ script: { latencyMs: LATENCY_MS }, answerBytes: 400 });
    try {
      const port = Number(new URL(upstream.url).port);
      const ms = await dispatchLoopMs({
        port,
        concurrency: CONCURRENCY,
        requests: LINES,
        bodyBytes: LINE_BYTES,
      });
      return (LINES / ms) * 1_000;
    } finally {
      await upstream.stop();
    }
  })();
  return ideal;
}
