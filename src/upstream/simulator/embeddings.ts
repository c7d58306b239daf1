import type { Usage } from '../../contract/batch.ts';
import type { JsonObject } from '../json.ts';
import { traitsOf } from './models.ts';
import { createRandom } from './random.ts';
import { missing, RequestError, tooMany } from './request-error.ts';
import { tokensOf } from './tokens.ts';

export function answerEmbeddings(body: JsonObject, model: string): { body: object; usage: Usage } {
  const { input, dimensions, encoding_format: encoding } = body;
  if (input === undefined || input === null) throw missing('input');
  if (!isInput(input)) throw INVALID_INPUT();
  // A single list of numbers is one text in tokens.
  const texts: unknown[] = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input];
  if (texts.length > INPUTS_MAX) throw tooMany('input', INPUTS_MAX);
  const usual = model.includes('3-large') ? 3072 : 1536;
  const size = typeof dimensions === 'number' ? dimensions : usual;
  if (dimensions != null && model.startsWith('text-embedding-ada-002'))
    throw new RequestError('This model does not support specifying dimensions.', null, null);
  const sizeMax = traitsOf(model) ? usual : DIMENSIONS_MAX;
  if (size > sizeMax)
    throw new RequestError(
      `Invalid value for 'dimensions' = ${size}. Must be less than or equal to ${sizeMax}.`,
      'dimensions',
      null,
    );
  for (const text of texts) checkLength(text, model);
  if (texts.length * size > VALUES_MAX) throw tooMany('input', Math.floor(VALUES_MAX / size));
  const tokens = texts.reduce<number>((sum, text) => sum + tokensOf(text), 0);
  return {
    usage: { inputTokens: tokens, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 },
    body: {
      object: 'list',
      data: texts.map((text, index) => ({
        object: 'embedding',
        index,
        embedding: encoding === 'base64' ? toBase64(unitVector(text, size)) : unitVector(text, size),
      })),
      model,
      simulated: true,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    },
  };
}

/** The input is a text, tokens, or a list of either. Nothing in it may be empty. */
const isInput = (input: unknown): boolean =>
  isText(input) ||
  (Array.isArray(input) && input.length > 0 && (input.every(isText) || input.every(isTokens)));
const isText = (item: unknown): boolean => typeof item === 'string' && item !== '';
const isTokens = (item: unknown): boolean =>
  Number.isInteger(item) || (Array.isArray(item) && item.length > 0 && item.every(Number.isInteger));
const INVALID_INPUT = (): RequestError =>
  new RequestError(
    "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
    null,
    null,
  );

/** Returns a vector of length 1, which is the same for the same text. */
function unitVector(text: unknown, size: number): number[] {
  let hash = 0x811c9dc5;
  for (const character of typeof text === 'string' ? text : JSON.stringify(text))
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  const random = createRandom(hash);
  const raw = Array.from({ length: size }, () => random() - 0.5);
  const length = Math.sqrt(raw.reduce((sum, value) => sum + value * value, 0)) || 1;
  return raw.map((value) => Math.round((value / length) * 1e8) / 1e8);
}

function checkLength(text: unknown, model: string): void {
  const tokens = tokensOf(text);
  const max = traitsOf(model)?.contextTokensMax ?? Infinity;
  if (tokens <= max) return;
  throw new RequestError(
    `This model's maximum context length is ${max} tokens, however you requested ${tokens} tokens (${tokens} in your prompt; ` +
      '0 for the completion). Please reduce your prompt; or completion length.',
    null,
    null,
  );
}

const toBase64 = (vector: readonly number[]): string =>
  Buffer.from(new Float32Array(vector).buffer).toString('base64');

const INPUTS_MAX = 2_048;
const DIMENSIONS_MAX = 4_096;
const VALUES_MAX = 1_000_000;
