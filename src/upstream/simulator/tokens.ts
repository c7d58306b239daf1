import { isObject } from './body.ts';

/** A common idea of how many tokens a text is: a quarter of its characters. */
export const estimateTokens = (text: string): number => Math.ceil(text.length / 4);

/** Four tokens around each message; an image at low detail is 85. */
export function tokensOf(input: unknown): number {
  if (typeof input === 'string') return estimateTokens(input);
  if (Array.isArray(input)) return input.reduce<number>((sum, part) => sum + tokensOf(part), 0);
  if (typeof input === 'number') return 1;
  if (!isObject(input)) return 0;
  if (input['type'] === 'image_url' || input['type'] === 'input_image') return 85;
  return 4 + tokensOf(input['content']) + tokensOf(input['text']);
}
