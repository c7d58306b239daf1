import type { BatchEndpoint } from '../contract/batch.ts';
import { errorWords, type ErrorWords } from './error-words.ts';
import { asObject, type JsonObject } from './json.ts';

/**
 * Returns the failure that a success (2xx) carries, and null for a real answer. Servers send one when the generation breaks
 * after they have said 200. What a filter or a token limit cut short is an answer: the model gives this to the line.
 */
export function faultOf(answer: JsonObject, endpoint: BatchEndpoint): ErrorWords | null {
  if (isError(answer['error'])) return wordsOr(answer, 'its answer carries an error that says nothing');
  switch (endpoint) {
    case '/chat/completions':
    case '/completions':
      return faultOfChoices(answer);
    case '/responses':
      return faultOfResponse(answer);
    case '/embeddings':
      return faultOfEmbeddings(answer);
  }
}

/** `null` is no error. An object whose members say nothing is none either. */
function isError(error: unknown): boolean {
  if (typeof error === 'string') return error !== '';
  if (typeof error !== 'object' || error === null) return error === true;
  return Object.values(error).some((value) => value !== null && value !== '');
}

/**
 * These say that a generation broke off. OpenRouter, vLLM and Mistral say `error`, SGLang `abort`, DeepSeek and Zhipu the other
 * two. `stop`, `length`, `content_filter`, `tool_calls` and any reason that is not known here are ends of answers.
 */
const BROKEN_OFF = /^(error|abort|fail|cancell?ed|insufficient_system_resource$|network_error$)/i;

function faultOfChoices(answer: JsonObject): ErrorWords | null {
  const { choices } = answer;
  if (!Array.isArray(choices) || choices.length === 0)
    return wordsOr(answer, `its answer has no ${Array.isArray(choices) ? 'choice' : 'choices'}`);
  for (const choice of choices as readonly unknown[]) {
    const fault = faultOfChoice(asObject(choice));
    if (fault !== null) return fault;
  }
  return null;
}

function faultOfChoice(choice: JsonObject | undefined): ErrorWords | null {
  if (choice === undefined) return { code: null, message: 'its answer has a choice that is empty' };
  const reason = choice['finish_reason'];
  if (typeof reason === 'string' && BROKEN_OFF.test(reason))
    return wordsOr(choice, `the generation broke off (finish_reason: ${reason})`);
  if (isError(choice['error'])) return wordsOr(choice, 'a choice carries an error that says nothing');
  if (asObject(choice['message']) === undefined && typeof choice['text'] !== 'string')
    return { code: null, message: 'its answer has a choice without a message' };
  return null;
}

function faultOfResponse(answer: JsonObject): ErrorWords | null {
  const { status, output } = answer;
  if (status === 'failed' || status === 'cancelled')
    return wordsOr(answer, `the generation ended with the status ${status}`);
  if (status === 'queued' || status === 'in_progress')
    return { code: null, message: `its answer is not finished (status: ${status})` };
  // A choice that was cut short before it said anything is still the model's answer to this line.
  if (Array.isArray(output) && (output.length > 0 || status === 'incomplete')) return null;
  return wordsOr(answer, 'its answer has no output');
}

function faultOfEmbeddings(answer: JsonObject): ErrorWords | null {
  const { data } = answer;
  if (!Array.isArray(data) || data.length === 0) return wordsOr(answer, 'its answer has no embeddings');
  const isWhole = (data as readonly unknown[]).every((item) => isVector(asObject(item)?.['embedding']));
  return isWhole ? null : { code: null, message: 'its answer has an embedding that is empty' };
}

/** An embedding is numbers, or base64 in a string. Some servers send a list of nulls when the model overflowed. */
function isVector(embedding: unknown): boolean {
  if (typeof embedding === 'string') return embedding !== '';
  // Late interaction models give one vector for each token.
  if (Array.isArray(embedding)) return typeof embedding[0] === 'number' || Array.isArray(embedding[0]);
  return asObject(embedding) !== undefined;
}

/** Returns what the failure says of itself, or else our words. */
function wordsOr(said: JsonObject, otherwise: string): ErrorWords {
  const { code, message } = errorWords(isError(said['error']) ? said['error'] : without(said));
  return { code, message: message === '' ? otherwise : message };
}

/** The `message` of a choice is its answer, and says nothing about a failure. */
const without = (said: JsonObject): JsonObject => (asObject(said['message']) ? {} : said);
