import { setTimeout as sleep } from 'node:timers/promises';
import { unlessAborted } from '../../core/unless-aborted.ts';
import { EXIT, type ExitCode } from '../process/exit.ts';
import { oneLine, printJson, tokenCount } from '../terminal/print.ts';
import { createProgressView, type Progress } from '../terminal/progress.ts';
import { type Client, isOver, type RemoteBatch } from './batch-client.ts';
import { Unreachable } from './http.ts';

/** Offpeak is polled often. Azure asks its clients to wait a minute between polls. */
const POLL_OFFPEAK_MS = 500;
const POLL_OTHER_MS = 10_000;
/** A service that restarts has this time to come back. */
const UNREACHABLE_MAX_MS = 120_000;

/** Shows a batch until it is over, and returns it. With `json` it prints every change as a line. */
export async function watchBatch(
  client: Pick<Client, 'batch'>,
  id: string,
  { json, pollMs, signal }: { json: boolean; pollMs?: number | undefined; signal?: AbortSignal },
): Promise<RemoteBatch | 'stopped'> {
  const view = createProgressView();
  const rate = rateOf();
  let said = '';
  try {
    while (true) {
      const batch = await getPatiently(client, id, (line) => view.say(line), signal);
      if (batch === 'stopped') return batch;
      if (json) {
        const now = JSON.stringify(batch);
        if (now !== said) printJson(batch);
        said = now;
      } else {
        view.show(toProgress(batch, rate));
      }
      if (isOver(batch)) return batch;
      await pause(pollMs ?? (batch.offpeak ? POLL_OFFPEAK_MS : POLL_OTHER_MS), signal);
      if (signal?.aborted) return 'stopped';
    }
  } finally {
    view.end();
  }
}

async function getPatiently(
  client: Pick<Client, 'batch'>,
  id: string,
  say: (line: string) => void,
  signal: AbortSignal | undefined,
): Promise<RemoteBatch | 'stopped'> {
  const startMs = performance.now();
  let said = '';
  for (let waitMs = 500; !signal?.aborted; waitMs = Math.min(waitMs * 2, 10_000)) {
    try {
      return await unlessAborted(client.batch(id), signal);
    } catch (error) {
      if (signal?.aborted) return 'stopped';
      if (!(error instanceof Unreachable) || performance.now() - startMs + waitMs > UNREACHABLE_MAX_MS)
        throw error;
      if (error.message !== said) say(`${error.message.replace(/([^.!?])$/, '$1.')} Trying again.`);
      said = error.message;
      await pause(waitMs, signal);
    }
  }
  return 'stopped';
}

/** Waits, and returns early when `signal` aborts. */
const pause = (ms: number, signal: AbortSignal | undefined): Promise<void> =>
  sleep(ms, undefined, { signal }).catch(() => {
    // The caller checks the signal.
  });

/** Requests per second since the first poll, for services that do not say it. */
function rateOf(): (done: number) => number | null {
  let first: { done: number; atMs: number } | null = null;
  return (done) => {
    const atMs = performance.now();
    first ??= { done, atMs };
    return done > first.done ? ((done - first.done) * 1000) / (atMs - first.atMs) : null;
  };
}

function toProgress(batch: RemoteBatch, rate: (done: number) => number | null): Progress {
  const { total, completed, failed } = countsOf(batch);
  const requestsPerSecond = batch.offpeak?.requests_per_second ?? rate(completed + failed);
  const left = total - completed - failed;
  return {
    status: oneLine(batch.status),
    total,
    completed,
    failed,
    requestsPerSecond,
    etaS: batch.offpeak?.eta_seconds ?? (requestsPerSecond ? left / requestsPerSecond : null),
    waiting: waitingText(batch),
  };
}

/** Why a batch waits. A place in the queue is said in fewer words than the service uses. */
export function waitingText({ offpeak }: RemoteBatch): string | null {
  const { queue, enqueued_tokens: tokens, waiting } = offpeak ?? {};
  if (!queue) return waiting ?? null;
  const free =
    tokens?.held == null || tokens.limit == null
      ? ''
      : `, ${tokenCount(Math.max(0, tokens.limit - tokens.held))} of ${tokenCount(tokens.limit)} free`;
  return `waits for room, place ${queue.position} of ${queue.length}: needs ${tokenCount(queue.tokens)}${free}`;
}

export function countsOf(batch: RemoteBatch): { total: number; completed: number; failed: number } {
  const { total, completed, failed } = batch.request_counts ?? {};
  return { total: total ?? 0, completed: completed ?? 0, failed: failed ?? 0 };
}

/** The exit code for the end of a batch. */
export function exitCodeOf(batch: RemoteBatch): ExitCode {
  if (batch.status === 'completed') return countsOf(batch).failed === 0 ? EXIT.ok : EXIT.failed;
  return batch.status === 'failed' && isOfTheInput(batch) ? EXIT.faultyInput : EXIT.failed;
}

/** A fault of the input has a line or one of these codes. Other failures, such as a lack of quota, are not its fault. */
const INPUT_CODES = ['empty_file', 'too_many_tasks', 'invalid_json_line', 'invalid_request', 'url_mismatch'];

const isOfTheInput = ({ errors }: RemoteBatch): boolean =>
  (errors?.data ?? []).some(({ code, line }) => line != null || INPUT_CODES.includes(code ?? ''));

/** The faults of the input, one line each. */
export const faultLines = (batch: RemoteBatch): string[] =>
  (batch.errors?.data ?? []).map(({ line, code, message }) =>
    oneLine(faultLine({ line: line ?? null, code: code ?? 'unknown', message: message ?? '' })),
  );

/** Messages of Offpeak begin with the line; those of other services do not. */
function faultLine({ line, code, message }: { line: number | null; code: string; message: string }): string {
  const place = line === null || message.startsWith(`Line ${line}:`) ? '' : `Line ${line}: `;
  return `${place}${message} (${code})`;
}
