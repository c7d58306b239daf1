const FLAT = 250;
export const MILLITOKENS_OF_INLINE_DATA = 765_000;
/** Negative: the byte ends or breaks a string (quote, backslash, control character). */
export const MILLITOKENS_OF_NUMBER = 1000;
export const MILLITOKENS_BY_BYTE: Int16Array = Int16Array.from({ length: 256 }, (_, byte) => {
  if (byte < 0x20 || byte === 0x22 || byte === 0x5c) return -1;
  if (byte >= 0x80 && byte < 0xc0) return 0;
  return byte < 0x80 ? FLAT : 650;
});
export const MILLITOKENS_BY_PAIR: Int16Array = Int16Array.from({ length: 65536 }, (_, pair) => {
  const low = MILLITOKENS_BY_BYTE[pair & 0xff] ?? -1;
  const high = MILLITOKENS_BY_BYTE[pair >> 8] ?? -1;
  return low < 0 || high < 0 ? -1 : low + high;
});
export function millitokensOfCodeUnit(unit: number): number {
  if (unit < 0x80) return Math.max(FLAT, MILLITOKENS_BY_BYTE[unit] ?? 0);
  const lead = unit < 0x800 ? 0xc0 | (unit >> 6) : 0xe0 | (unit >> 12);
  return MILLITOKENS_BY_BYTE[lead] ?? 0;
}
export function isInlineData(line: Buffer, start: number): boolean {
  return line[start] === 0x64 && line.toString('latin1', start, start + 5) === 'data:';
}
