import type { BatchEndpoint } from '../contract/batch.ts';
import { asObject, type JsonObject } from './json.ts';

/** Whether a body that is no JSON looks like server-sent events. */
export const isEventStream = (start: string): boolean => /^(data|event|id|retry)?:/.test(start);

/**
 * Returns the answer that a server streamed though nobody asked it to. For `/responses` it stands in the last event. For
 * completions it is put together from the chunks. Returns undefined when the stream is cut, or is none of a model API.
 */
export function answerOfStream(text: string, endpoint: BatchEndpoint): JsonObject | undefined {
  const events = eventsOf(text);
  if (events === undefined) return undefined;
  const error = events.findLast((event) => isErrorEvent(event));
  if (error !== undefined) return { error: asObject(error['error']) ?? error['error'] ?? error };
  switch (endpoint) {
    case '/responses':
      return asObject(events.findLast((event) => isLast(event))?.['response']);
    case '/chat/completions':
    case '/completions':
      return answerOfChunks(events);
    case '/embeddings':
      return undefined;
  }
}

/** Returns undefined when some event is no JSON object. */
function eventsOf(text: string): JsonObject[] | undefined {
  const events: JsonObject[] = [];
  for (const block of text.split(/\r?\n\r?\n/)) {
    const data = block
      .split(/\r?\n/)
      .filter((line) => line.startsWith('data:'))
      .map((line) => line.slice('data:'.length).trimStart())
      .join('\n');
    if (data === '' || data === '[DONE]') continue;
    const event = parsed(data);
    if (event === undefined) return undefined;
    events.push(event);
  }
  return events;
}

function parsed(data: string): JsonObject | undefined {
  try {
    return asObject(JSON.parse(data));
  } catch {
    return undefined; // The stream is cut, or is not JSON.
  }
}

const isErrorEvent = (event: JsonObject): boolean =>
  event['type'] === 'error' || (event['error'] !== undefined && event['error'] !== null);

const isLast = ({ type }: JsonObject): boolean =>
  type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed';

interface Choice {
  readonly index: number;
  readonly message: Record<string, unknown>;
  readonly calls: Record<string, unknown>[];
  text: string | undefined;
  logprobs: Record<string, unknown> | null;
  rest: JsonObject;
}

function answerOfChunks(chunks: readonly JsonObject[]): JsonObject | undefined {
  const choices = new Map<number, Choice>();
  let head: JsonObject = {};
  for (const chunk of chunks) {
    // Azure's first chunk has empty names, and its last one has the usage.
    head = { ...head, ...Object.fromEntries(Object.entries(chunk).filter(([, value]) => !isEmpty(value))) };
    for (const delta of listOf(chunk['choices'])) addDelta(choices, delta);
  }
  if (choices.size === 0) return undefined;
  const ended = [...choices.values()].every(({ rest }) => typeof rest['finish_reason'] === 'string');
  if (!ended) return undefined;
  return {
    ...head,
    object: head['object'] === 'text_completion' ? 'text_completion' : 'chat.completion',
    choices: [...choices.values()].toSorted((a, b) => a.index - b.index).map(choiceOf),
  };
}

const isEmpty = (value: unknown): boolean => value === null || value === '';

function addDelta(choices: Map<number, Choice>, choice: JsonObject): void {
  const index = typeof choice['index'] === 'number' ? choice['index'] : 0;
  const held: Choice = choices.get(index) ?? {
    index,
    message: { role: 'assistant', content: null },
    calls: [],
    text: undefined,
    logprobs: null,
    rest: {},
  };
  choices.set(index, held);
  const { delta, text, logprobs, ...rest } = choice;
  const said = Object.entries(rest).filter(([, value]) => value !== null);
  held.rest = { ...held.rest, ...Object.fromEntries(said) };
  if (typeof text === 'string') held.text = (held.text ?? '') + text;
  const probabilities = asObject(logprobs);
  if (probabilities !== undefined) held.logprobs = joined(held.logprobs ?? {}, probabilities);
  const { tool_calls: calls, role, ...message } = asObject(delta) ?? {};
  if (typeof role === 'string') held.message['role'] = role;
  joined(held.message, message);
  for (const call of listOf(calls)) addCall(held.calls, call);
}

function addCall(calls: Record<string, unknown>[], call: JsonObject): void {
  const { index, function: part, ...rest } = call;
  const at = typeof index === 'number' && index >= 0 && index < CALLS_MAX ? index : calls.length;
  const held = (calls[at] ??= { function: {} });
  for (const [key, value] of Object.entries(rest)) held[key] ??= value;
  const whole: Record<string, unknown> = { ...asObject(held['function']) };
  const { name, ...others } = asObject(part) ?? {};
  if (typeof name === 'string' && name !== '') whole['name'] ??= name;
  held['function'] = joined(whole, others);
}

const CALLS_MAX = 1_000;

/** Texts and lists are appended. Any other value replaces the one before. */
function joined(held: Record<string, unknown>, more: JsonObject): Record<string, unknown> {
  for (const [key, value] of Object.entries(more)) {
    const before = held[key];
    if (value === null) held[key] ??= null;
    else if (typeof before === 'string' && typeof value === 'string') held[key] = before + value;
    else if (Array.isArray(before) && Array.isArray(value))
      for (const item of value as unknown[]) before.push(item);
    else held[key] = value;
  }
  return held;
}

function choiceOf({ index, message, calls, text, logprobs, rest }: Choice): JsonObject {
  // A server may leave gaps between the numbers.
  const toolCalls = Object.values(calls);
  const said =
    text === undefined
      ? { message: toolCalls.length === 0 ? message : { ...message, tool_calls: toolCalls } }
      : { text };
  return { ...rest, index, ...said, logprobs };
}

const listOf = (value: unknown): JsonObject[] =>
  Array.isArray(value) ? value.map(asObject).filter((item) => item !== undefined) : [];
