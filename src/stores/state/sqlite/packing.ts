import type { LineResult, ResultRow } from '../ports.ts';

/**
 * Results on their way between threads: numbers in one buffer, payloads in another. Both are transferred and not copied.
 * Cloning the results one by one costs several times as much as recording them.
 */
export interface Packed {
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export const buffersOf = ({ numbers, bytes }: Packed): ArrayBuffer[] => [numbers.buffer, bytes.buffer];

/** How many numbers a result has, and a row, with the length of its payload. */
const RESULT_WIDTH = 11;
const ROW_WIDTH = 3;

export function packResults(results: readonly LineResult[]): Packed {
  const numbers = new Float64Array(results.length * RESULT_WIDTH);
  let at = 0;
  for (const result of results) {
    numbers[at++] = result.payload.byteLength;
    numbers[at++] = result.batchSeq;
    numbers[at++] = result.segmentIndex;
    numbers[at++] = result.epoch;
    numbers[at++] = result.line;
    numbers[at++] = result.ok ? 1 : 0;
    numbers[at++] = result.retries;
    numbers[at++] = result.usage.inputTokens;
    numbers[at++] = result.usage.cachedTokens;
    numbers[at++] = result.usage.outputTokens;
    numbers[at++] = result.usage.reasoningTokens;
  }
  return { numbers, bytes: joined(results) };
}

export function unpackResults(packed: Packed): LineResult[] {
  const { numbers } = packed;
  return unpack(packed, RESULT_WIDTH, (at, payload) => ({
    batchSeq: numbers[at] ?? 0,
    segmentIndex: numbers[at + 1] ?? 0,
    epoch: numbers[at + 2] ?? 0,
    line: numbers[at + 3] ?? 0,
    ok: numbers[at + 4] === 1,
    retries: numbers[at + 5] ?? 0,
    usage: {
      inputTokens: numbers[at + 6] ?? 0,
      cachedTokens: numbers[at + 7] ?? 0,
      outputTokens: numbers[at + 8] ?? 0,
      reasoningTokens: numbers[at + 9] ?? 0,
    },
    payload,
  }));
}

export function packRows(rows: readonly ResultRow[]): Packed {
  const numbers = new Float64Array(rows.length * ROW_WIDTH);
  let at = 0;
  for (const { line, ok, payload } of rows) {
    numbers[at++] = payload.byteLength;
    numbers[at++] = line;
    numbers[at++] = ok ? 1 : 0;
  }
  return { numbers, bytes: joined(rows) };
}

export function unpackRows(packed: Packed): ResultRow[] {
  const { numbers } = packed;
  return unpack(packed, ROW_WIDTH, (at, payload) => ({
    line: numbers[at] ?? 0,
    ok: numbers[at + 1] === 1,
    payload,
  }));
}

function joined(items: readonly { readonly payload: Uint8Array }[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(items.reduce((sum, { payload }) => sum + payload.byteLength, 0));
  let at = 0;
  for (const { payload } of items) {
    bytes.set(payload, at);
    at += payload.byteLength;
  }
  return bytes;
}

/** `toItem` gets the index of the item's first number after the length of its payload. */
function unpack<T>(
  { numbers, bytes }: Packed,
  width: number,
  toItem: (at: number, payload: Uint8Array) => T,
): T[] {
  const items: T[] = [];
  let start = 0;
  for (let at = 0; at < numbers.length; at += width) {
    const end = start + (numbers[at] ?? 0);
    items.push(toItem(at + 1, bytes.subarray(start, end)));
    start = end;
  }
  return items;
}
