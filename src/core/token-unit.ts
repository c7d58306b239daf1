const UNITS = [
  [1e9, 'B'],
  [1e6, 'M'],
  [1e3, 'K'],
] as const;

/** The largest unit in which the figure has one decimal at most, so that it is never rounded; else single tokens. */
const tokenUnit = (tokens: number): readonly [size: number, letter: string] =>
  UNITS.find(([size]) => tokens >= size && tokens % (size / 10) === 0) ?? [1, ''];

/** A figure as quotas have it: `30K`, `1.5M`, `4,999,949K`. A figure that is not round stays whole: `58,212`. */
export function tokenCount(tokens: number): string {
  const [size, letter] = tokenUnit(tokens);
  return `${(tokens / size).toLocaleString('en-US')}${letter}`;
}
