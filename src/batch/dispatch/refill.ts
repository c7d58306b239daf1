import { LINE_BYTES_MAX, toBatchEndpoint } from '../../contract/batch.ts';
import { assert } from '../../core/assert.ts';
import { scanRequestLine, stringAt } from '../request-line.ts';
import { LineSplitter } from '../../core/lines.ts';
import type { WorkStore } from '../../stores/state/ports.ts';
import { InputDamage, type Inputs } from '../inputs.ts';
import type { Backlog, Line, Segment } from './backlog.ts';
import { isSuspectSegment } from './poison/process-crashes.ts';

/** Chooses the batch that claims next. A batch without segments goes first. When ready lines run low, batches take turns. */
export function chooseClaim(
  backlogs: readonly Backlog[],
  { windowSize, hasUpstream }: { readonly windowSize: number; readonly hasUpstream: boolean },
): { readonly backlog: Backlog; readonly segmentsMax: number } | undefined {
  const starving = backlogs.find((backlog) => mayClaim(backlog) && backlog.segments.size === 0);
  if (starving !== undefined) return { backlog: starving, segmentsMax: 1 };
  // Without an upstream one segment is enough to find out whether anything is left to send.
  if (!hasUpstream) return undefined;
  const freshLines = backlogs.reduce((sum, backlog) => sum + freshLinesOf(backlog), 0);
  if (freshLines >= windowSize + Math.min(SPARE_WINDOWS * windowSize, SPARE_LINES_MAX)) return undefined;
  const first = backlogs.find(mayClaim);
  if (first === undefined) return undefined;
  const unrecorded = backlogs.reduce((sum, backlog) => sum + backlog.unrecorded, 0);
  if (unrecorded >= CLAIMED_WINDOWS_MAX * windowSize + CLAIMED_LINES_MAX) return undefined;
  const segmentsMax = Math.min(SEGMENTS_PER_CLAIM_MAX, 1 + Math.floor(windowSize / WINDOW_PER_SEGMENT));
  return { backlog: first, segmentsMax };
}

/** Ready lines that have not failed. Lines that failed may all wait for a probe, while the lines after them may be well. */
const freshLinesOf = (backlog: Backlog): number =>
  backlog.troubled === 0
    ? backlog.ready.length
    : Math.min(backlog.ready.length, backlog.unrecorded - backlog.troubled);

const mayClaim = (backlog: Backlog): boolean => !backlog.isHalted && !backlog.isExhausted;

/** Claims segments of the backlog's batch, and reads their unrecorded lines from the input by byte range. */
export async function refill(
  backlog: Backlog,
  claimant: { readonly workerId: string; readonly segmentsMax: number },
  deps: { readonly work: WorkStore; readonly inputs: Pick<Inputs, 'readBytes'> },
): Promise<void> {
  const known = [...backlog.segments].map(({ claim }) => claim.index);
  const claims = await deps.work.claim(backlog.batch.seq, { ...claimant, known });
  backlog.isExhausted = claims.length === 0;
  const segments = claims.map((claim): Segment => ({
    claim,
    isSuspect: isSuspectSegment(claim),
    unrecorded: 0,
    inDoubt: 0,
    isLost: false,
  }));
  // Invariant: every claimed segment is in the backlog before its lines are read. Otherwise a failure below would not give
  // all of them back.
  for (const segment of segments) backlog.segments.add(segment);
  for (const segment of segments) {
    const { byteStart: start, byteLength: length, suspectLine } = segment.claim;
    const bytes = await deps.inputs.readBytes(backlog.batch.inputBlobId, { start, length });
    const lines = readValidated(segment, bytes);
    segment.unrecorded = lines.length;
    if (lines.length === 0) backlog.segments.delete(segment);
    // The suspect that was noted last goes first: a note of another suspect would reset its count of crashes.
    const isNoted = ({ number }: Line): number => (number === suspectLine ? 1 : 0);
    const next = lines.toReversed().sort((a, b) => isNoted(a) - isNoted(b));
    (segment.isSuspect ? backlog.crashSuspects : backlog.ready).unshift(...next);
  }
}

/** Validation has passed these lines. So a line that cannot be read shows that the file was changed. */
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

const SEGMENTS_PER_CLAIM_MAX = 8;
/** A claim is a commit of its own. So a wide window claims more at a time: one segment more for this many requests. */
const WINDOW_PER_SEGMENT = 16;
/** A claim may wait for a commit. These ready lines keep the window full meanwhile: this many windows, at most this many lines. */
const SPARE_WINDOWS = 4;
const SPARE_LINES_MAX = 128;
/** How many lines may be claimed and not recorded: this many windows, and this many lines more. */
const CLAIMED_WINDOWS_MAX = 4;
const CLAIMED_LINES_MAX = 256;
