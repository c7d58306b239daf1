import { endianness } from 'node:os';

/**
 * The estimate of a request's input tokens is a sum over every string in its body (names and values, unescaped). Each character
 * has a weight that depends on its kind alone, and each number has one too. Names and words of structure stand in for what
 * chat templates add around messages. No tokenizer is loaded, and the same bytes always have the same tokens. The weights
 * are fitted to o200k_base. These errors were measured (docs/adr/0001-token-estimate.md): English -5 %, Korean -1 %,
 * Japanese -1 %, Chinese +2 %, TypeScript -3 %, Python +10 %, JSON +14 %, Markdown -13 %; 18 kinds together -0.3 %.
 */
const MILLITOKENS = {
  space: 150,
  lowerCase: 205,
  upperCase: 250,
  digit: 600,
  punctuation: 530,
  /** JSON can write line ends, tabs and the like only as escapes. */
  control: 600,
  accentedLatin: 600,
  greek: 410,
  cyrillic: 290,
  hebrewArmenian: 420,
  arabic: 350,
  indicThai: 400,
  vietnameseAndOthers: 550,
  symbol: 700,
  kanaHanHangul: 720,
  fullWidth: 800,
  emoji: 2_000,
} as const;

/** Images and files as `data:…;base64,…` cost by their size in tiles, not by their letters. Each is counted as a 1,024-pixel image. */
export const MILLITOKENS_OF_INLINE_DATA = 765_000;
export const MILLITOKENS_OF_NUMBER = 1_000;

/** These kinds of characters begin with a byte of 0xC0 or more. Those above them are counted as emoji. */
const LEAD_BYTES = [
  { upTo: 0xcd, millitokens: MILLITOKENS.accentedLatin },
  { upTo: 0xcf, millitokens: MILLITOKENS.greek },
  { upTo: 0xd3, millitokens: MILLITOKENS.cyrillic },
  { upTo: 0xd7, millitokens: MILLITOKENS.hebrewArmenian },
  { upTo: 0xdf, millitokens: MILLITOKENS.arabic },
  { upTo: 0xe0, millitokens: MILLITOKENS.indicThai },
  { upTo: 0xe1, millitokens: MILLITOKENS.vietnameseAndOthers },
  { upTo: 0xe2, millitokens: MILLITOKENS.symbol },
  { upTo: 0xed, millitokens: MILLITOKENS.kanaHanHangul },
  { upTo: 0xef, millitokens: MILLITOKENS.fullWidth },
];

/** Maps the first byte of a character in UTF-8 to what the character costs. The other bytes cost nothing. */
const MILLITOKENS_BY_FIRST_BYTE: Int16Array = Int16Array.from({ length: 0x100 }, (_, byte) => weightOf(byte));

/** The same, with -1 for a byte that ends a run of plain characters in a JSON string. */
export const MILLITOKENS_BY_BYTE: Int16Array = MILLITOKENS_BY_FIRST_BYTE.map((cost, byte) =>
  byte < 0x20 || byte === 0x22 || byte === 0x5c ? -1 : cost,
);

/** Returns what `\uXXXX` costs, which stands for one UTF-16 code unit. */
export function millitokensOfCodeUnit(unit: number): number {
  if (unit >= 0xd800 && unit < 0xe000) return unit < 0xdc00 ? MILLITOKENS.emoji : 0;
  const firstByte = unit < 0x80 ? unit : unit < 0x800 ? 0xc0 | (unit >> 6) : 0xe0 | (unit >> 12);
  return MILLITOKENS_BY_FIRST_BYTE[firstByte] ?? 0;
}

/** Maps the second character of an escape to what the escape costs, or to 0 when there is no such escape. */
export const MILLITOKENS_BY_ESCAPE = new Int16Array(0x100);
for (const [index, letter] of Buffer.from('bfnrt"\\/').entries()) {
  MILLITOKENS_BY_ESCAPE[letter] = millitokensOfCodeUnit('\b\f\n\r\t"\\/'.charCodeAt(index));
}

/**
 * Maps two bytes, read as one number of the machine, to what they cost. They are two plain bytes, or an escape of two characters.
 * Everything else is -1 and needs a closer look.
 */
export const MILLITOKENS_BY_PAIR: Int16Array = Int16Array.from({ length: 0x10000 }, (_, pair) => {
  const bytes = endianness() === 'LE' ? [pair & 0xff, pair >> 8] : [pair >> 8, pair & 0xff];
  const [first = 0, second = 0] = bytes;
  if (first === 0x5c) return MILLITOKENS_BY_ESCAPE[second] || -1;
  const [firstCost = -1, secondCost = -1] = [MILLITOKENS_BY_BYTE[first], MILLITOKENS_BY_BYTE[second]];
  return firstCost < 0 || secondCost < 0 ? -1 : firstCost + secondCost;
});

const INLINE_DATA = 'data:';
const INLINE_HEADER_CHARS = 128;

export const isInlineData = (text: string): boolean =>
  text.startsWith(INLINE_DATA) && text.slice(0, INLINE_HEADER_CHARS).includes(';base64,');

/** The same for a string whose first byte, after its quote, is at `start`. */
export const isInlineDataAt = (line: Buffer, start: number): boolean =>
  line[start] === 0x64 && isInlineData(line.toString('latin1', start, start + INLINE_HEADER_CHARS));

function weightOf(byte: number): number {
  if (byte < 0x20) return MILLITOKENS.control;
  if (byte === 0x20) return MILLITOKENS.space;
  if (byte >= 0x30 && byte <= 0x39) return MILLITOKENS.digit;
  if (byte >= 0x41 && byte <= 0x5a) return MILLITOKENS.upperCase;
  if (byte >= 0x61 && byte <= 0x7a) return MILLITOKENS.lowerCase;
  if (byte < 0x80) return MILLITOKENS.punctuation;
  if (byte < 0xc0) return 0;
  return LEAD_BYTES.find(({ upTo }) => byte <= upTo)?.millitokens ?? MILLITOKENS.emoji;
}
