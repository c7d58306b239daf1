import { isAccepted, classifyFailure } from '../../src/serving/classify.ts';
import type { ClassifiedFailure } from '../../src/serving/failure.ts';
import type { UpstreamReply } from '../../src/upstream/port.ts';
import type { Job, JobLine } from './plan.ts';
import type { Call, SimServer } from './sim-upstream.ts';

const MINUTE = 60_000;
const FEW_LINES = 3;
/** Rejections of the first lines that say the same. */
const LINES_ALIKE = 20;
/** A batch that had a line accepted ends at most so long after its last other line. */
const TAIL_MAX_MS = 10 * MINUTE;
/** P15: so often a line may fell its server before it is found out. */
const FALLS_MAX = 12;

type Require = (condition: unknown, promise: string, what: string) => void;
type Ended = Call & { readonly reply: UpstreamReply; readonly endMs: number };

/** One batch, as the ledger knows it. */
export interface Trial {
  readonly batchId: string;
  readonly job: Job;
  /** Of this batch, in order of their starts. */
  readonly calls: readonly Call[];
}

export interface BlameDeps {
  readonly retriesMax: number;
  readonly servers: ReadonlyMap<string, SimServer>;
  readonly calls: () => readonly Call[];
  readonly require: Require;
}

/** P32: who may pay for what. The rule of docs/adr/0020 is written here a second time, and reads the ledger of the servers. */
export class Blame {
  readonly #deps: BlameDeps;

  constructor(deps: BlameDeps) {
    this.#deps = deps;
  }

  /**
   * Whether a line that is well in the end may be failed by what befell its server. That is what ADR 20 calls the price: it is
   * one of the last lines, all of them have failed, and it got the same for as long as the rule says.
   */
  mayPay({ name }: JobLine, trial: Trial): boolean {
    const own = failuresOf(trial).filter(({ line }) => line === name);
    const last = own.at(-1);
    if (last === undefined || !own.some(({ down }) => down)) return false;
    const failure = classifyFailure(last.reply);
    if (failure.kind === 'rejected') return this.#mayBeRejected(last, trial);
    const tailStartMs = tailStartOf(trial, last.endMs);
    if (tailStartMs === null) return false;
    const tries = own.filter(({ endMs }) => endMs >= tailStartMs);
    // The time is long enough for either rule.
    const isOften = tries.length > this.#deps.retriesMax || (last.endMs - tries[0]!.endMs) / MINUTE >= 8;
    return (
      isOften &&
      isLongEnough(failure, {
        minutes: (last.endMs - tries[0]!.endMs) / MINUTE,
        lives: this.#hasLived(last, own.at(-2)?.endMs ?? last.startMs),
        isFew: openLines(trial, last.endMs) <= FEW_LINES,
      })
    );
  }

  /** Rejections count at once, save those of a batch's first lines that say the same to twenty. */
  #mayBeRejected(last: Ended, trial: Trial): boolean {
    const passed = this.#accepted().find(({ route, endMs }) => route === last.route && endMs >= last.startMs);
    const first = acceptedOf(trial)[0];
    if (first !== undefined && first.endMs <= last.endMs) return true;
    const { text } = classifyFailure(last.reply);
    const alike = failuresOf(trial).filter(
      ({ reply, endMs }) => endMs < (passed?.endMs ?? Infinity) && classifyFailure(reply).text === text,
    );
    return new Set(alike.map(({ line }) => line)).size < LINES_ALIKE;
  }

  /** Whether a batch that had lines accepted may wait for ever: nobody can say that its last lines are at fault. */
  mayWait(trial: Trial): boolean {
    const done = new Set(acceptedOf(trial).map(({ line }) => line));
    const lasts = new Map(failuresOf(trial).map((call) => [call.line, call]));
    const left = [...lasts.values()].filter(({ line }) => !done.has(line));
    const ofPlace = left.filter(({ reply }) => isOfPlace(classifyFailure(reply)));
    if (ofPlace.length > FEW_LINES) return true;
    return left.some(
      (call) => needsLife(classifyFailure(call.reply)) && !this.#hasLived(call, call.endMs - TAIL_MAX_MS),
    );
  }

  /** The batch that ended by itself too late, if any did. `troubleEndMs`: the end of the trouble of its servers. */
  checkEnd(trial: Trial, times: { readonly endMs: number; readonly troubleEndMs: number }): void {
    const own = acceptedOf(trial);
    if (own.length === 0 || this.#isUnknowable(trial)) return;
    const lastMs = Math.max(times.troubleEndMs, ...own.map(({ endMs }) => endMs));
    // The time of its own slow replies is added.
    const after = this.#deps
      .calls()
      .filter(({ startMs, deployment }) => startMs >= lastMs - MINUTE && deployment === trial.job.deployment);
    const busyMs = after.reduce((sum, { startMs, endMs }) => sum + (endMs ?? startMs) - startMs, 0);
    // The pauses that a server asked for are added.
    const isPaced = after.some(({ reply }) => reply?.status === 429);
    const pauseMs = isPaced ? MINUTE : 0;
    this.#deps.require(
      times.endMs - lastMs <= TAIL_MAX_MS + busyMs + pauseMs,
      'P32',
      `${trial.batchId} ended ${((times.endMs - lastMs) / MINUTE).toFixed(1)} minutes after its last other line`,
    );
  }

  /** A server that never answers for its list of models shows only by other lines that it lives. */
  #isUnknowable(trial: Trial): boolean {
    const { servers } = this.#deps;
    return failuresOf(trial).some(
      ({ server, reply }) => servers.get(server)!.listing === '500' && needsLife(classifyFailure(reply)),
    );
  }

  /** P15. */
  checkFalls(provenLines: ReadonlySet<string>): void {
    const times = new Map<string, number>();
    for (const { deaths, listing } of this.#deps.servers.values())
      for (const { line } of deaths) if (listing !== '500') times.set(line, (times.get(line) ?? 0) + 1);
    for (const [line, count] of times) {
      // A failure that seems to be the line's alone uses up its retries.
      const isFound = count <= Math.max(FALLS_MAX, this.#deps.retriesMax + 1) || !provenLines.has(line);
      this.#deps.require(isFound, 'P15', `${line} has felled its server ${count} times`);
    }
  }

  /** Whether the server has shown to somebody, between then and the end of the call, that it lives. */
  #hasLived({ server, life, endMs }: Ended, sinceMs: number): boolean {
    const isThen = (atMs: number) => sinceMs < atMs && atMs <= endMs;
    const { listed } = this.#deps.servers.get(server)!;
    return (
      listed.some((one) => one.life === life && isThen(one.atMs)) ||
      this.#accepted().some((call) => call.server === server && isThen(call.endMs))
    );
  }

  #accepted(): Ended[] {
    return this.#deps
      .calls()
      .filter(isEnded)
      .filter(({ reply }) => isAccepted(reply));
  }
}

const isEnded = (call: Call): call is Ended => call.reply !== null && call.endMs !== null;

const byEnd = (a: Ended, b: Ended): number => a.endMs - b.endMs;

const acceptedOf = ({ calls }: Trial): Ended[] =>
  calls
    .filter(isEnded)
    .filter(({ reply }) => isAccepted(reply))
    .sort(byEnd);

const isFailure = ({ reply }: Ended): boolean =>
  !isAccepted(reply) && !(reply.kind === 'failure' && reply.reason === 'aborted');

const failuresOf = ({ calls }: Trial): Ended[] => calls.filter(isEnded).filter(isFailure).sort(byEnd);

/** Since when every line of the batch has failed or has its answer, and one has its answer; null: not yet. */
function tailStartOf(trial: Trial, untilMs: number): number | null {
  const [accepted] = acceptedOf(trial);
  if (accepted === undefined || accepted.endMs > untilMs) return null;
  const seenMs = new Map<string, number>();
  for (const { line, endMs } of [...acceptedOf(trial), ...failuresOf(trial)])
    seenMs.set(line, Math.min(endMs, seenMs.get(line) ?? Infinity));
  const startMs = Math.max(
    accepted.endMs,
    ...trial.job.lines.map(({ name }) => seenMs.get(name) ?? Infinity),
  );
  return startMs <= untilMs ? startMs : null;
}

/** Lines that get a reply then or later. */
const openLines = ({ calls }: Trial, atMs: number): number =>
  new Set(calls.filter(({ endMs }) => endMs === null || endMs >= atMs).map(({ line }) => line)).size;

const isOfPlace = ({ kind, names }: ClassifiedFailure): boolean =>
  names === 'account' || kind === 'throttled';

const needsLife = (failure: ClassifiedFailure): boolean =>
  isOfPlace(failure) || ['silent', 'unavailable', 'unreachable'].includes(failure.kind);

function isLongEnough(
  failure: ClassifiedFailure,
  { minutes, lives, isFew }: { readonly minutes: number; readonly lives: boolean; readonly isFew: boolean },
): boolean {
  const { kind, names } = failure;
  if (kind === 'unreachable' || (needsLife(failure) && !lives)) return false;
  if (names === 'account') return isFew && minutes >= 8;
  if (kind === 'throttled') return minutes >= (isFew ? 5 : 8);
  if (kind === 'unavailable') return minutes >= (isFew ? 2 : 5);
  return (isFew && kind !== 'refused') || minutes >= 3;
}
