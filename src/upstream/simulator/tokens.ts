import { isObject } from '../json.ts';

/** A text has about a quarter as many tokens as characters. */
export const estimateTokens = (text: string): number => Math.ceil(text.length / 4);

/** There are four tokens around each message. An image at low detail has 85. */
export function tokensOf(input: unknown): number {
  if (typeof input === 'string') return estimateTokens(input);
  if (Array.isArray(input)) return input.reduce<number>((sum, part) => sum + tokensOf(part), 0);
  if (typeof input === 'number') return 1;
  if (!isObject(input)) return 0;
  if (input['type'] === 'image_url' || input['type'] === 'input_image') return 85;
  return 4 + tokensOf(input['content']) + tokensOf(input['text']);
}
