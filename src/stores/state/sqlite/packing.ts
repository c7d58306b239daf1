import type { LineResult, ResultRow } from '../ports.ts';

/**
 * Results on their way between threads: numbers in one buffer, payloads in another, both handed over instead of copied.
 * Cloning them one object at a time costs several times as much as recording them.
 */
export interface Packed {
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export const buffersOf = ({ numbers, bytes }: Packed): ArrayBuffer[] => [numbers.buffer, bytes.buffer];

export const packResults = (results: readonly LineResult[]): Packed =>
  pack(results, ({ usage, ...result }) => [
    result.batchSeq,
    result.segmentIndex,
    result.epoch,
    result.line,
    Number(result.ok),
    result.retries,
    usage.inputTokens,
    usage.cachedTokens,
    usage.outputTokens,
    usage.reasoningTokens,
  ]);

export const unpackResults = (packed: Packed): LineResult[] =>
  unpack(packed, 10, ([batchSeq, segmentIndex, epoch, line, ok, retries, ...tokens], payload) => ({
    batchSeq: batchSeq ?? 0,
    segmentIndex: segmentIndex ?? 0,
    epoch: epoch ?? 0,
    line: line ?? 0,
    ok: ok === 1,
    retries: retries ?? 0,
    usage: {
      inputTokens: tokens[0] ?? 0,
      cachedTokens: tokens[1] ?? 0,
      outputTokens: tokens[2] ?? 0,
      reasoningTokens: tokens[3] ?? 0,
    },
    payload,
  }));

export const packRows = (rows: readonly ResultRow[]): Packed =>
  pack(rows, ({ line, ok }) => [line, Number(ok)]);

export const unpackRows = (packed: Packed): ResultRow[] =>
  unpack(packed, 2, ([line, ok], payload) => ({ line: line ?? 0, ok: ok === 1, payload }));

/** Per item its numbers and then the length of its payload. */
function pack<T extends { readonly payload: Uint8Array }>(
  items: readonly T[],
  numbersOf: (item: T) => readonly number[],
): Packed {
  const numbers = Float64Array.from(items.flatMap((item) => [...numbersOf(item), item.payload.byteLength]));
  const bytes = new Uint8Array(items.reduce((sum, { payload }) => sum + payload.byteLength, 0));
  let at = 0;
  for (const { payload } of items) {
    bytes.set(payload, at);
    at += payload.byteLength;
  }
  return { numbers, bytes };
}

function unpack<T>(
  { numbers, bytes }: Packed,
  width: number,
  toItem: (numbers: readonly number[], payload: Uint8Array) => T,
): T[] {
  const items: T[] = [];
  let at = 0;
  for (let start = 0; start < numbers.length; start += width + 1) {
    const end = at + (numbers[start + width] ?? 0);
    items.push(toItem([...numbers.subarray(start, start + width)], bytes.subarray(at, end)));
    at = end;
  }
  return items;
}
