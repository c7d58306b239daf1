import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Batch } from '../../contract/batch.ts';
import { silentLog } from '../../core/log.ts';
import { openDiskBlobs, type DiskBlobs } from '../../stores/blobs/disk.ts';
import { BlobStoreError, type BlobStore, type StoredBlob } from '../../stores/blobs/port.ts';
import type { ClaimedSegment, LineResult } from '../../stores/state/ports.ts';
import { NO_USAGE } from '../../upstream/port.ts';
import { OutputsAlong, type AlongOptions } from './along.ts';
import type { Rest } from './along-output.ts';

let dir: string;
let blobs: DiskBlobs;
let fatal: unknown[];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-along-'));
  blobs = await openDiskBlobs({ dir, blockBytes: 64 });
  fatal = [];
});
afterEach(async () => {
  await blobs.close();
  await rm(dir, { recursive: true });
});

const SEGMENT_LINES = 4;
const LINES = 40;

const makeAlong = (options: Partial<AlongOptions> = {}, store: BlobStore = blobs): OutputsAlong =>
  new OutputsAlong({
    blobs: store,
    uuid: () => 'attempt',
    log: silentLog,
    onFatal: (error) => fatal.push(error),
    options: { linesMin: 10, pieceBytes: 1, ...options },
  });

const batchOf = (seq: number, counts: Partial<Batch['counts']> = {}): Batch =>
  ({
    seq,
    id: `batch_${seq}`,
    outputFileId: `output-${seq}`,
    counts: { total: LINES, completed: 0, failed: 0, ...counts },
  }) as Batch;

const payloadOf = (line: number): Buffer => Buffer.from(`{"line":${line}}`);
const textOf = (lines: readonly number[]): string =>
  lines.map((line) => `${payloadOf(line).toString()}\n`).join('');
const from = (first: number, last: number): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

function record(
  along: OutputsAlong,
  seq: number,
  lines: readonly number[],
  failed: readonly number[] = [],
): void {
  for (const line of lines) {
    const index = Math.floor((line - 1) / SEGMENT_LINES);
    const segment = { index, requests: SEGMENT_LINES } as ClaimedSegment;
    const result: LineResult = {
      batchSeq: seq,
      segmentIndex: index,
      epoch: 1,
      line,
      ok: !failed.includes(line),
      payload: payloadOf(line),
      usage: NO_USAGE,
      retries: 0,
    };
    along.recorded(segment, result);
  }
}

/** The store as the rest is read from it, and what was asked of it. */
function restOf(lines: readonly number[], count = lines.length): Rest & { readonly asked: number[] } {
  const asked: number[] = [];
  return {
    asked,
    lines: count,
    async *pages(afterLine) {
      asked.push(afterLine);
      const left = lines.filter((line) => line > afterLine);
      if (left.length > 0) yield left.map(payloadOf);
    },
  };
}

const temporary = (): Promise<string[]> => readdir(join(dir, 'tmp'));
const output = (seq: number): Promise<string> => readFile(blobs.pathOf(`output-${seq}_attempt`), 'utf8');

test('what comes in any order is written in the order of the input, before the end and under no name yet', async () => {
  const along = makeAlong();
  along.follow(batchOf(1));
  const lines = from(1, LINES);
  record(along, 1, from(1, 20).toReversed(), [7]);
  record(
    along,
    1,
    from(21, LINES).sort((a, b) => (a % 7) - (b % 7)),
    [30],
  );
  await vi.waitFor(async () => expect(await temporary()).toHaveLength(1));
  expect(await blobs.size('output-1')).toBeUndefined();
  const ok = lines.filter((line) => line !== 7 && line !== 30);
  const rest = restOf(ok);

  const written = await along.take(1)?.finish(rest);

  expect(await output(1)).toBe(textOf(ok));
  expect(written).toMatchObject({ lines: 38, blob: { bytes: textOf(ok).length } });
  expect(rest.asked).toEqual([LINES]);
});

test('behind a line that holds up the others, memory stays bounded and the rest comes from the store', async () => {
  const along = makeAlong({ keptBytesMax: 100 });
  along.follow(batchOf(1));
  record(along, 1, from(1, 8));
  record(along, 1, from(10, LINES));
  record(along, 1, [9]);
  const rest = restOf(from(1, LINES));

  await along.take(1)?.finish(rest);

  expect(rest.asked).toEqual([8]);
  expect(await output(1)).toBe(textOf(from(1, LINES)));
});

test('when memory is short, the one that keeps most gives up, and the others go on', async () => {
  const along = makeAlong({ keptBytesMax: 700 });
  along.follow(batchOf(1));
  along.follow(batchOf(2));
  record(along, 1, from(1, 4));
  record(along, 1, from(6, LINES));
  record(along, 2, from(1, LINES));
  record(along, 1, [5]);
  const [first, second] = [restOf(from(1, LINES)), restOf(from(1, LINES))];

  await along.take(1)?.finish(first);
  await along.take(2)?.finish(second);

  expect(first.asked).toEqual([4]);
  expect(second.asked).toEqual([LINES]);
});

test.each([
  ['lacks lines', [1, 2, 3, 4], LINES],
  ['has more lines than were counted', from(1, LINES), LINES - 1],
])('an output that %s comes to nothing, and leaves nothing', async (_, stored, count) => {
  const along = makeAlong();
  along.follow(batchOf(1));
  record(along, 1, from(1, 8));

  await expect(along.take(1)?.finish(restOf(stored, count))).resolves.toBeUndefined();

  expect(await temporary()).toEqual([]);
  expect(await blobs.size('output-1')).toBeUndefined();
});

test('a result that comes twice is not written twice', async () => {
  const along = makeAlong();
  along.follow(batchOf(1));
  record(along, 1, from(1, 4));
  record(along, 1, [5, 5, 6, 7, 8]);
  const rest = restOf(from(1, LINES));

  await along.take(1)?.finish(rest);

  expect(rest.asked).toEqual([4]);
  expect(await output(1)).toBe(textOf(from(1, LINES)));
});

test('a batch that is dropped leaves nothing', async () => {
  const along = makeAlong();
  along.follow(batchOf(1));
  record(along, 1, from(1, 8));
  await vi.waitFor(async () => expect(await temporary()).toHaveLength(1));

  await along.drop(1);

  expect(await temporary()).toEqual([]);
  expect(along.take(1)).toBeUndefined();
});

test('small batches, those that others have begun, and those beyond the limit are not followed', async () => {
  const along = makeAlong({ batchesMax: 1 });
  along.follow(batchOf(1, { total: 9 }));
  along.follow(batchOf(2, { completed: 1 }));
  along.follow(batchOf(3, { failed: 1 }));
  along.follow(batchOf(4));
  along.follow(batchOf(5));

  for (const seq of [1, 2, 3, 4, 5]) record(along, seq, from(1, 8));

  const outputs = [1, 2, 3, 4, 5].map((seq) => along.take(seq));
  expect(outputs.map((one) => one !== undefined)).toEqual([false, false, false, true, false]);
  for (const one of outputs) await one?.discard();
});

test.each([
  ['disk_full', 0],
  ['io', 1],
] as const)(
  'a disk that answers %s ends the writing; a broken one ends the process',
  async (reason, ends) => {
    const put = (): Promise<StoredBlob> => Promise.reject(new BlobStoreError('simulated', reason));
    const along = makeAlong({}, Object.create(blobs, { put: { value: put } }) as BlobStore);
    along.follow(batchOf(1));
    record(along, 1, from(1, 8));
    await new Promise(setImmediate);

    expect(along.take(1)).toBeUndefined();

    expect(fatal).toHaveLength(ends);
  },
);
