import type { Body } from './body.ts';
import type { Answer, AnswerContext } from './answers.ts';
import { createRandom } from './random.ts';
import { missing, RequestError, tooMany } from './request-error.ts';
import { tokensOf } from './tokens.ts';

export function answerEmbeddings(body: Body, context: AnswerContext): Answer {
  const { input, dimensions, encoding_format: encoding } = body;
  if (typeof input !== 'string' && !(Array.isArray(input) && input.length > 0)) throw missing('input');
  // A lone list of numbers is one text in tokens.
  const texts: unknown[] = Array.isArray(input) && typeof input[0] !== 'number' ? input : [input];
  if (texts.length > INPUTS_MAX) throw tooMany('input', INPUTS_MAX);
  const size = dimensions ?? (context.model.includes('3-large') ? 3072 : 1536);
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 1 || size > DIMENSIONS_MAX)
    throw new RequestError(
      `'dimensions' must be a whole number from 1 to ${DIMENSIONS_MAX}.`,
      'dimensions',
      'invalid_value',
    );
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
      model: context.model,
      simulated: true,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    },
  };
}

/** Of length 1, and the same for the same text. */
function unitVector(text: unknown, size: number): number[] {
  let hash = 0x811c9dc5;
  for (const character of typeof text === 'string' ? text : JSON.stringify(text))
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  const random = createRandom(hash);
  const raw = Array.from({ length: size }, () => random() - 0.5);
  const length = Math.sqrt(raw.reduce((sum, value) => sum + value * value, 0)) || 1;
  return raw.map((value) => Math.round((value / length) * 1e8) / 1e8);
}

const toBase64 = (vector: readonly number[]): string =>
  Buffer.from(new Float32Array(vector).buffer).toString('base64');

const INPUTS_MAX = 2_048;
const DIMENSIONS_MAX = 4_096;
const VALUES_MAX = 1_000_000;
