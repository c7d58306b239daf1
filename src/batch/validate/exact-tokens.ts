import { LINE_BYTES_MAX } from '../../contract/batch.ts';
import { assert } from '../../core/assert.ts';
import { scanRequestLine } from '../request-line.ts';
import { LineSplitter } from '../../core/lines.ts';
import { isInlineData, MILLITOKENS_OF_INLINE_DATA, MILLITOKENS_OF_NUMBER } from './tokens.ts';

/**
 * Counts what the estimate stands for: the tokens of every string in the bodies of an inspected file without faults, by the
 * tokenizer of GPT-4o and later models. It reads 3 to 5 MB/s, and its vocabulary takes 100 MB of memory.
 */
export async function countTokensExactly(chunks: AsyncIterable<Uint8Array>): Promise<number> {
  const { countTokens, setMergeCacheSize } = await import('gpt-tokenizer/encoding/o200k_base');
  setMergeCacheSize(MERGES_CACHED);
  const count = (text: string) => countTokens(text, { disallowedSpecial: new Set() });
  const splitter = new LineSplitter({ lineBytesMax: LINE_BYTES_MAX });
  let tokens = 0;
  const add = (line: { readonly bytes: Buffer | undefined }) => {
    assert(line.bytes, 'the file has a line that validation refuses');
    const { body } = scanRequestLine(line.bytes);
    tokens += tokensOf(JSON.parse(line.bytes.toString('utf8', body.start, body.end)), count);
  };
  for await (const chunk of chunks) for (const line of splitter.push(chunk)) add(line);
  for (const line of splitter.end()) add(line);
  return tokens;
}

/** The tokenizer's own cache of 100,000 gets slow, by a factor of 60, once a file has filled it with one-off words. */
const MERGES_CACHED = 2_000;

function tokensOf(value: unknown, count: (text: string) => number): number {
  if (typeof value === 'string') return tokensOfText(value, count);
  if (typeof value === 'number') return MILLITOKENS_OF_NUMBER / 1000;
  if (typeof value !== 'object' || value === null) return 0;
  let tokens = 0;
  if (Array.isArray(value)) {
    for (const item of value) tokens += tokensOf(item, count);
    return tokens;
  }
  for (const [name, member] of Object.entries(value)) {
    tokens += tokensOfText(name, count) + tokensOf(member, count);
  }
  return tokens;
}

/**
 * The tokenizer's time grows with the square of an unbroken run, so that a megabyte without a space would take hours. Runs
 * are cut at 512 characters: none takes long, normal text is never cut, and a cut run is off by less than 1 %.
 */
function tokensOfText(text: string, count: (text: string) => number): number {
  if (isInlineData(text)) return MILLITOKENS_OF_INLINE_DATA / 1000;
  let tokens = 0;
  let start = 0;
  for (const run of text.matchAll(LONG_RUN)) {
    const end = run.index + run[0].length;
    tokens += count(text.slice(start, end));
    start = end;
  }
  return tokens + count(text.slice(start));
}

const LONG_RUN = /\S{512}|\s{512}/gu;
