import { setMaxListeners } from 'node:events';
import { LINE_BYTES_MAX, toBatchEndpoint, type Batch, type BatchEndpoint } from '../../contract/batch.ts';
import { assert } from '../../core/assert.ts';
import { scanRequestLine, stringAt } from '../../core/json-scan.ts';
import { LineSplitter } from '../../core/lines.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';
import type { ClassifiedFailure } from '../../serving/failure.ts';
import type { Outage } from '../../serving/server.ts';
import type { ClaimedSegment, WorkStore } from '../../stores/state/ports.ts';
import { InputDamage } from '../inputs.ts';
import type { UpstreamReply } from '../../upstream/port.ts';
import { requestIdStart, type RequestName } from '../results/result-line.ts';
import type { BatchRoute } from './batch-route.ts';

/** A request of a claimed segment, between its claim and its durable result. */
export interface Line {
  readonly segment: Segment;
  readonly number: number;
  readonly customIdJson: Uint8Array;
  readonly endpoint: BatchEndpoint;
  readonly body: Uint8Array;
  /** Where the model name lies in `body`. */
  readonly model: { readonly start: number; readonly end: number };
  /** Upstream calls so far. */
  calls: number;
  /** Null until a call fails. */
  trouble: LineTrouble | null;
}

/** What is known of a line whose calls failed. */
export interface LineTrouble {
  /** The latest reply, and what it says. */
  reply: UpstreamReply;
  failure: ClassifiedFailure;
  /** When it came (monotonic ms). */
  failedAtMs: number;
  /** Calls that are held against the line. */
  attempts: number;
  /** How often it was asked to slow down. */
  throttles: number;
  /** The outage of a server that it was under way in; null: in none, or it is counted. */
  outage: Outage | null;
  /** Deaths of servers that it was under way in. */
  deaths: number;
  /** Tries since only failing lines were left, and the first of them (monotonic ms). */
  tailTries: number;
  tailSinceMs: number | null;
  /** The same, whatever its replies speak of. */
  allTailTries: number;
  allTailSinceMs: number | null;
  /** What its replies speak of since then. */
  tailOf: 'account' | 'pace' | 'set-up' | 'trouble' | null;
}

/** The failure that came last, and since when none but failures came (wall clock). */
export interface LatestFailure {
  readonly server: string;
  readonly failure: ClassifiedFailure;
  readonly sinceMs: number;
}

/** A rejection that is not held against its line yet, since it may be about the set-up. */
export interface HeldRejection {
  readonly line: Line;
  readonly reply: UpstreamReply;
  readonly failure: ClassifiedFailure;
  readonly batchRoute: BatchRoute;
}

/** A segment that this process holds. */
export interface Segment {
  readonly claim: ClaimedSegment;
  /** Lines without a durable result. */
  unrecorded: number;
  /** Requests sent of which no reply is known. */
  inDoubt: number;
  isLost: boolean;
}

/** A segment that was claimed when the process ended this often is tried one line at a time (P15). */
export const CRASHES_MAX = 3;

/** The lines of one batch that this process holds: claimed segments, read from the input by byte range. */
export class Backlog {
  readonly batch: Batch;
  /** What the ids of its result lines begin with. */
  readonly idStart: string;
  /** Lines to be sent, next last. */
  readonly ready: Line[] = [];
  /** Lines of segments that may have ended the process: sent one at a time. */
  readonly crashSuspects: Line[] = [];
  /** Lines that were under way when a server died: sent last, and few at a time. */
  readonly deathSuspects: Line[] = [];
  held: HeldRejection[] = [];
  /** How the batch fares at each upstream that serves it. */
  routes: readonly BatchRoute[] = [];
  /** A line was accepted by now, or a rejection differed from the others: rejections are about single lines. */
  rejectsSingly = false;
  /** Lines accepted by this process. */
  accepted = 0;
  /** Times that its servers are being asked for their models, before rejections are judged. */
  modelProbes = 0;
  /** Lines without a durable result whose calls failed. */
  troubled = 0;
  /** Calls beyond the first of lines that have no durable result yet. */
  retries = 0;
  /** Null: the latest call was accepted. */
  latestFailure: LatestFailure | null = null;
  readonly segments = new Set<Segment>();
  /** Aborted when no line of the batch shall go on. */
  readonly abort = new AbortController();
  inFlight = 0;
  /** Lines that wait for their next attempt. */
  waiting = 0;
  /** The store had no segment left to claim when last asked. */
  isExhausted = false;
  /** No new requests: stopped, or in error. */
  isHalted = false;
  /** Cancelled, expired, or the process stops: what is in flight has little time left. */
  isStopped = false;
  recorded = 0;
  /** Why it is halted, when its lines could not be read or claimed. */
  error: Error | null = null;
  readonly drained = Promise.withResolvers<void>();

  readonly #acceptedBefore: boolean;

  constructor(batch: Batch, { acceptedBefore }: { readonly acceptedBefore: boolean }) {
    this.batch = batch;
    this.#acceptedBefore = acceptedBefore;
    this.idStart = requestIdStart(batch.id);
    // Lines that wait for their next attempt listen, and upstreams that have no wire.
    setMaxListeners(0, this.abort.signal);
  }

  /** Lines claimed and not durable. */
  get unrecorded(): number {
    let unrecorded = 0;
    for (const segment of this.segments) unrecorded += segment.unrecorded;
    return unrecorded;
  }

  /** Some line of the batch was accepted, now, before a restart, or in the run that it repeats. */
  get isProven(): boolean {
    return this.#acceptedBefore || this.accepted > 0 || this.batch.counts.completed > 0;
  }

  /** Only failing lines are left of a batch that had lines accepted. */
  get isTail(): boolean {
    return this.isProven && this.failingLines !== null;
  }

  /** Its last lines are tried a few more times, and then it ends, whatever they get. */
  get endsByItself(): boolean {
    return this.isTail && this.latestFailure?.failure.kind !== 'unreachable';
  }

  /** Lines that are left, when all of them have failed; else null. */
  get failingLines(): number | null {
    if (this.troubled === 0 || !this.isExhausted) return null;
    const { unrecorded } = this;
    return this.troubled >= unrecorded ? unrecorded : null;
  }

  get isDrained(): boolean {
    if (this.inFlight > 0) return false;
    if (this.isHalted) return true;
    return this.isExhausted && this.segments.size === 0;
  }
}

/** Claims segments of the backlog's batch and makes their unrecorded lines ready. */
export async function refill(
  backlog: Backlog,
  claimant: { readonly owner: string; readonly segmentsMax: number },
  stores: { readonly work: WorkStore; readonly blobs: Pick<BlobStore, 'readBytes'> },
): Promise<void> {
  const held = [...backlog.segments].map(({ claim }) => claim.index);
  const claims = await stores.work.claim(backlog.batch.seq, { ...claimant, held });
  backlog.isExhausted = claims.length === 0;
  const segments = claims.map((claim): Segment => ({ claim, unrecorded: 0, inDoubt: 0, isLost: false }));
  // All are held from now on, so that a failure below gives all of them back.
  for (const segment of segments) backlog.segments.add(segment);
  for (const segment of segments) {
    const { byteStart: start, byteLength: length, crashes, suspectLine } = segment.claim;
    const bytes = await stores.blobs.readBytes(backlog.batch.inputBlobId, { start, length });
    const lines = readValidated(segment, bytes);
    segment.unrecorded = lines.length;
    if (lines.length === 0) backlog.segments.delete(segment);
    // The last suspect goes first: were another one noted before it, its ends of the process would be forgotten.
    const isLast = ({ number }: Line): number => (number === suspectLine ? 1 : 0);
    const next = lines.toReversed().sort((a, b) => isLast(a) - isLast(b));
    (crashes >= CRASHES_MAX ? backlog.crashSuspects : backlog.ready).unshift(...next);
  }
}

/** Bytes that validation has passed have these lines; others are not those that it saw. */
function readValidated(segment: Segment, bytes: Uint8Array): Line[] {
  try {
    return readLines(segment, bytes);
  } catch (cause) {
    const { firstLine, requests } = segment.claim;
    const message = `the ${requests} requests from line ${firstLine} on are not those that were validated: ${String(cause)}`;
    throw new InputDamage(message, { kind: 'changed', at: { firstLine, requests }, cause });
  }
}

function readLines(segment: Segment, bytes: Uint8Array): Line[] {
  const { firstLine, requests, recordedLines } = segment.claim;
  const recorded = new Set(recordedLines);
  const splitter = new LineSplitter({ lineBytesMax: LINE_BYTES_MAX });
  const lines: Line[] = [];
  let seen = 0;
  for (const source of [...splitter.push(bytes), ...splitter.end()]) {
    assert(source.bytes, 'an oversized line passed validation');
    seen += 1;
    const number = firstLine + source.line - 1;
    if (recorded.has(number)) continue;
    const { customId, url, body, model } = scanRequestLine(source.bytes);
    const endpoint = toBatchEndpoint(stringAt(source.bytes, url));
    assert(endpoint, 'an unknown url passed validation');
    lines.push({
      segment,
      number,
      customIdJson: source.bytes.subarray(customId.start, customId.end),
      endpoint,
      body: source.bytes.subarray(body.start, body.end),
      model: { start: model.start - body.start, end: model.end - body.start },
      calls: 0,
      trouble: null,
    });
  }
  assert(seen === requests, 'the input is not the one that was validated');
  return lines;
}

/** What identifies the line's request in its result line. */
export const requestNameOf = (line: Line, backlog: Backlog): RequestName => ({
  customIdJson: line.customIdJson,
  batchId: backlog.batch.id,
  idStart: backlog.idStart,
  line: line.number,
});
