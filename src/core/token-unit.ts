const UNITS = [
  [1e9, 'B'],
  [1e6, 'M'],
  [1e3, 'K'],
] as const;

/** The largest unit in which a figure of tokens has one decimal at most, so that it is never rounded; else single tokens. */
const tokenUnit = (tokens: number): readonly [size: number, letter: string] =>
  UNITS.find(([size]) => tokens >= size && tokens % (size / 10) === 0) ?? [1, ''];

/** As quotas are told: `30K`, `1.5M` and `4,999,949K`; a figure that is not round stays whole: `58,212`. */
export function tokenCount(tokens: number): string {
  const [size, letter] = tokenUnit(tokens);
  return `${(tokens / size).toLocaleString('en-US')}${letter}`;
}
