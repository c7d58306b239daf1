const UNITS = [
  [1e9, 'B'],
  [1e6, 'M'],
  [1e3, 'K'],
] as const;

/** The largest unit in which a figure of tokens has one decimal at most, so that it is never rounded; else single tokens. */
export const tokenUnit = (tokens: number): readonly [size: number, letter: string] =>
  UNITS.find(([size]) => tokens >= size && tokens % (size / 10) === 0) ?? [1, ''];
