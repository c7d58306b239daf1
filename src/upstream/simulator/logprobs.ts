import { pick, type Random } from './random.ts';

export interface TokenLogprob {
  readonly token: string;
  readonly bytes: number[];
  readonly logprob: number;
  readonly top_logprobs: { readonly token: string; readonly bytes: number[]; readonly logprob: number }[];
}

/** Makes up logprobs in the original's shape, for pieces of four characters. Each has `top` likely pieces, the chosen one first. */
export function tokenLogprobs(text: string, top: number, random: Random): TokenLogprob[] {
  return piecesOf(text).map((token) => {
    const first = { token, bytes: bytesOf(token), logprob: -round(random() * 0.5) };
    const others = Array.from({ length: Math.max(0, top - 1) }, (_, index) => {
      const other = pick(random, OTHERS);
      return { token: other, bytes: bytesOf(other), logprob: first.logprob - round(1 + index + random()) };
    });
    return { ...first, top_logprobs: top > 0 ? [first, ...others] : [] };
  });
}

const OTHERS = [' the', ' a', ' and', '.', ',', ' is', ' of'] as const;

const bytesOf = (token: string): number[] => [...Buffer.from(token)];
const round = (value: number): number => Math.round(value * 1e6) / 1e6;

/** Cuts a text into pieces, but never through the middle of a character. */
function piecesOf(text: string): string[] {
  const pieces: string[] = [];
  let piece = '';
  for (const character of text) {
    piece += character;
    if (piece.length < 4) continue;
    pieces.push(piece);
    piece = '';
  }
  return piece === '' ? pieces : [...pieces, piece];
}
