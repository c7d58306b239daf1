import type { BatchEndpoint } from '../../contract/batch.ts';
import { isObject, type JsonObject } from '../json.ts';
import { outOfBounds, RequestError, tooLong, unknown, wrongType, wrongValue } from './request-error.ts';

/** Checks one value, which is neither absent nor null. Throws `RequestError`. */
type Check = (param: string, value: unknown) => void;

const integer =
  (min = -Infinity, max = Infinity): Check =>
  (param, value) => {
    if (typeof value !== 'number' || !Number.isInteger(value)) throw wrongType(param, 'an integer', value);
    const fault = outOfBounds(param, value, { min, max, kind: 'integer' });
    if (fault) throw fault;
  };

const decimal =
  (min: number, max: number): Check =>
  (param, value) => {
    if (typeof value !== 'number') throw wrongType(param, 'a decimal', value);
    const fault = outOfBounds(param, value, { min, max, kind: 'decimal' });
    if (fault) throw fault;
  };

const boolean: Check = (param, value) => {
  if (typeof value !== 'boolean') throw wrongType(param, 'a boolean', value);
};
const text: Check = (param, value) => {
  if (typeof value !== 'string') throw wrongType(param, 'a string', value);
};
const object: Check = (param, value) => {
  if (!isObject(value)) throw wrongType(param, 'an object', value);
};
const anything: Check = () => {};

const oneOf =
  (...supported: readonly string[]): Check =>
  (param, value) => {
    if (typeof value !== 'string')
      throw wrongType(param, `one of ${supported.map((one) => `'${one}'`).join(', ')}`, value);
    if (!supported.includes(value)) throw wrongValue(param, value, supported);
  };

const STOPS_MAX = 4;
const stop: Check = (param, value) => {
  if (typeof value === 'string') return;
  if (!Array.isArray(value)) throw wrongType(param, 'one of a string or array of strings', value);
  if (value.length > STOPS_MAX) throw tooLong(param, STOPS_MAX, value.length);
  for (const [index, item] of value.entries()) text(`${param}[${index}]`, item);
};

const METADATA_MAX = 16;
const metadata: Check = (param, value) => {
  object(param, value);
  const entries = Object.entries(value as JsonObject);
  if (entries.length > METADATA_MAX)
    throw new RequestError(
      `Invalid 'metadata': too many properties. Expected an object with at most ${METADATA_MAX} properties, but got an ` +
        `object with ${entries.length} properties instead.`,
      param,
      'object_above_max_properties',
    );
  for (const [key, item] of entries) text(`${param}.${key}`, item);
};

const EFFORTS = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'] as const;

const SAMPLING: Readonly<Record<string, Check>> = {
  temperature: decimal(0, 2),
  top_p: decimal(0, 1),
  user: text,
  stream: boolean,
  stream_options: object,
};
const CHOICES: Readonly<Record<string, Check>> = {
  n: integer(1, 128),
  max_tokens: integer(1),
  stop,
  seed: integer(),
  frequency_penalty: decimal(-2, 2),
  presence_penalty: decimal(-2, 2),
  logit_bias: object,
};
const SHARED: Readonly<Record<string, Check>> = {
  model: text,
  metadata,
  store: boolean,
  parallel_tool_calls: boolean,
  service_tier: oneOf('auto', 'default', 'fast', 'flex', 'priority'),
  safety_identifier: text,
  prompt_cache_key: text,
  prompt_cache_options: object,
  prompt_cache_retention: oneOf('in_memory', '24h'),
  moderation: object,
  access_programs: object,
  top_logprobs: integer(0, 20),
};

/** The parameters of each endpoint. Faults are reported in this order. */
const PARAMETERS: Readonly<Record<BatchEndpoint, Readonly<Record<string, Check>>>> = {
  '/chat/completions': {
    messages: anything,
    ...SHARED,
    ...CHOICES,
    ...SAMPLING,
    max_completion_tokens: integer(1),
    logprobs: boolean,
    reasoning_effort: oneOf(...EFFORTS),
    verbosity: oneOf('low', 'medium', 'high'),
    response_format: object,
    tools: anything,
    tool_choice: anything,
    functions: anything,
    function_call: anything,
    modalities: anything,
    audio: object,
    prediction: object,
    web_search_options: object,
    data_sources: anything,
    user_security_context: object,
  },
  '/completions': {
    model: text,
    prompt: anything,
    ...CHOICES,
    ...SAMPLING,
    max_tokens: integer(0),
    logprobs: integer(0, 5),
    best_of: integer(1, 20),
    echo: boolean,
    suffix: text,
  },
  '/responses': {
    input: anything,
    ...SHARED,
    ...SAMPLING,
    max_output_tokens: integer(16),
    max_tool_calls: integer(1),
    instructions: text,
    background: boolean,
    context_management: anything,
    conversation: anything,
    image: anything,
    include: anything,
    previous_response_id: text,
    prompt: object,
    reasoning: object,
    text: object,
    tool_choice: anything,
    tools: anything,
    truncation: oneOf('auto', 'disabled'),
  },
  '/embeddings': {
    model: text,
    input: anything,
    dimensions: integer(1),
    encoding_format: oneOf('float', 'base64'),
    user: text,
    input_type: text,
  },
};

/** These names differ between chat completions and responses. */
const MOVED: Readonly<Record<string, string>> = {
  messages: 'input',
  response_format: 'text.format',
  max_tokens: 'max_output_tokens',
  max_completion_tokens: 'max_output_tokens',
  reasoning_effort: 'reasoning.effort',
  verbosity: 'text.verbosity',
};

/** Refuses names that the original does not know. */
export function checkNames(endpoint: BatchEndpoint, body: JsonObject): void {
  for (const name of Object.keys(body))
    if (!Object.hasOwn(PARAMETERS[endpoint], name)) throw unknownIn(endpoint, name);
}

/** Refuses wrong types and values out of bounds. Null counts as absent. */
export function checkParameters(endpoint: BatchEndpoint, body: JsonObject): void {
  for (const [name, check] of Object.entries(PARAMETERS[endpoint])) {
    const value = body[name];
    if (value !== undefined && value !== null) check(name, value);
  }
}

function unknownIn(endpoint: BatchEndpoint, name: string): RequestError {
  const moved = endpoint === '/responses' && Object.hasOwn(MOVED, name) ? MOVED[name] : undefined;
  if (moved === undefined) return unknown(name);
  return new RequestError(
    `Unsupported parameter: '${name}'. In the Responses API, this parameter has moved to '${moved}'. Try again with the new ` +
      'parameter. See the API documentation for more information: https://platform.openai.com/docs/api-reference/responses/create.',
    null,
    'unsupported_parameter',
  );
}
