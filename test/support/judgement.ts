/** Replies of model servers, and the speed of the clock, for tests of who pays for a failed call. */
import type { UpstreamReply, UpstreamRequest } from '../../src/upstream/port.ts';
import type { Batch } from '../../src/contract/batch.ts';
import type { Engine } from '../../src/batch/engine.ts';
import { answer, scope, type EngineBench } from './engine.ts';

/** At this speed the minutes of the rules take less than a second. */
export const SPEED = 200;

/** The options of production. */
export const REAL = { tickMs: 1_000, retryBaseMs: 500, retryCapMs: 60_000 };

export const says = (status: number, text: string, more = {}): UpstreamReply =>
  answer(status, { body: Buffer.from(JSON.stringify({ error: { message: text } })), ...more });

export const failure = (
  reason: Extract<UpstreamReply, { kind: 'failure' }>['reason'],
  status: number | null = null,
): UpstreamReply => ({ kind: 'failure', reason, message: `it was a ${reason}`, status });

/** The number of a line that `many` has made. */
export const lineIn = ({ body }: UpstreamRequest): number =>
  Number(/"content":"r(\d+)"/.exec(Buffer.from(body).toString())?.[1]);

/** Why the batch does not move, as the engine tells it; null: it moves, or has ended. */
export async function waiting(bench: EngineBench, engine: Engine, { id }: Batch): Promise<string | null> {
  const live = await bench.state.batches.get(scope, id);
  return (live && engine.progress(live)?.waiting) ?? null;
}
