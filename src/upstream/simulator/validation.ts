import type { BatchEndpoint } from '../../contract/batch.ts';
import { isObject, type JsonObject } from '../json.ts';
import { checkInput, checkMessages } from './conversation.ts';
import { baseOf, OPERATIONS, reasonsOver, traitsOf, type ModelTraits } from './models.ts';
import { checkNames, checkParameters } from './parameters.ts';
import {
  emptyArray,
  missing,
  OperationNotSupported,
  RequestError,
  tooLong,
  unsupported,
  wrongPattern,
  wrongType,
  wrongValue,
} from './request-error.ts';
import { checkStrict } from './strict-schema.ts';
import { tokensOf } from './tokens.ts';

/**
 * Refuses what the original refuses, with its code and its words, so that a faulty pipeline is found before it costs anything.
 * For a model that is none of the original's only types and bounds are checked, as it has names and limits of its own.
 */
export function checkRequest(endpoint: BatchEndpoint, body: JsonObject, model: string): void {
  const traits = traitsOf(model);
  if (traits) checkOperation(endpoint, traits, model);
  const isChat = endpoint === '/chat/completions';
  if (isChat && body['messages'] == null) throw missing('messages');
  // A model that is none of the original's has names of its own.
  if (traits) checkNames(endpoint, body);
  if (isChat) checkMessages(body['messages']);
  if (endpoint === '/responses') checkInput(body);
  checkParameters(endpoint, body);
  if (isChat || endpoint === '/responses') {
    checkFormat(body, { isChat, isOriginal: traits !== null });
    checkTools(body, { isChat, isOriginal: traits !== null });
  }
  if (isChat) checkDependents(body);
  if (traits) checkTraits(endpoint, body, traits);
}

function checkOperation(endpoint: BatchEndpoint, { kind }: ModelTraits, model: string): void {
  const embeds = endpoint === '/embeddings';
  // Old versions of gpt-35-turbo still take completions.
  const completes = endpoint !== '/completions' || model.startsWith('gpt-35-turbo');
  if (embeds !== (kind === 'embedding') || !completes)
    throw new OperationNotSupported(OPERATIONS[endpoint], baseOf(model) ?? model);
}

interface Asked {
  readonly isChat: boolean;
  /** Models that are none of the original's are not that strict. */
  readonly isOriginal: boolean;
}

const FORMATS = ['json_object', 'json_schema', 'text'];

/** Chat completions have the format in `response_format`, with a wrapped schema. Responses have it in `text.format`. */
function checkFormat(body: JsonObject, { isChat, isOriginal }: Asked): void {
  const text = isObject(body['text']) ? body['text'] : {};
  const format = isChat ? body['response_format'] : text['format'];
  if (!isObject(format)) return;
  const at = isChat ? 'response_format' : 'text.format';
  const { type } = format;
  if (type === undefined) throw missing(`${at}.type`);
  if (typeof type !== 'string' || !FORMATS.includes(type)) throw wrongValue(`${at}.type`, type, FORMATS);
  if (type === 'json_schema') {
    const held = isChat ? format['json_schema'] : format;
    const place = isChat ? `${at}.json_schema` : at;
    if (!isObject(held)) throw missing(place);
    const { name } = held;
    if (name === undefined || name === null) throw missing(`${place}.name`);
    if (typeof name !== 'string') throw wrongType(`${place}.name`, 'a string', name);
    if (!isChat && held['schema'] === undefined) throw missing(`${place}.schema`);
    if (isOriginal && held['strict'] === true)
      checkStrict(held['schema'], {
        what: `response_format '${name}'`,
        param: isChat ? at : `${at}.schema`,
        code: isChat ? null : 'invalid_json_schema',
      });
  }
  if (type === 'json_object' && isOriginal) checkSaysJson(body, isChat);
}

function checkSaysJson({ messages, input, instructions }: JsonObject, isChat: boolean): void {
  if (/json/i.test(JSON.stringify(isChat ? messages : [input, instructions]))) return;
  throw isChat
    ? new RequestError(
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        'messages',
        null,
      )
    : new RequestError(
        "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
        'input',
        null,
      );
}

const TOOLS_MAX = 128;
const NAME = /^[a-zA-Z0-9_-]+$/;

function checkTools({ tools, tool_choice: choice, ...body }: JsonObject, asked: Asked): void {
  if (tools === undefined || tools === null) {
    if (!asked.isChat) return;
    if (choice !== undefined && choice !== null && choice !== 'none') throw withoutTools('tool_choice');
    if (body['parallel_tool_calls'] != null) throw withoutTools('parallel_tool_calls');
    return;
  }
  if (!Array.isArray(tools)) throw wrongType('tools', 'an array of objects', tools);
  if (tools.length > TOOLS_MAX) throw tooLong('tools', TOOLS_MAX, tools.length);
  if (tools.length === 0 && asked.isChat) throw emptyArray('tools');
  for (const [index, tool] of (tools as readonly unknown[]).entries())
    checkTool(tool, `tools[${index}]`, asked);
  const words = ['none', 'auto', 'required'];
  if (typeof choice === 'string' && !words.includes(choice)) throw wrongValue('tool_choice', choice, words);
}

const withoutTools = (param: string): RequestError =>
  new RequestError(
    `Invalid value for '${param}': '${param}' is only allowed when 'tools' are specified.`,
    param,
    null,
  );

function checkTool(tool: unknown, at: string, { isChat, isOriginal }: Asked): void {
  if (!isObject(tool)) throw wrongType(at, 'an object', tool);
  if (tool['type'] === undefined) throw missing(`${at}.type`);
  if (tool['type'] !== 'function') return;
  // Chat completions wrap the function, responses do not.
  const held = isChat ? tool['function'] : tool;
  const place = isChat ? `${at}.function` : at;
  if (!isObject(held)) throw missing(place);
  const { name } = held;
  if (name === undefined) throw missing(`${place}.name`);
  if (typeof name !== 'string') throw wrongType(`${place}.name`, 'a string', name);
  if (!NAME.test(name)) throw wrongPattern(`${place}.name`, NAME);
  if (isOriginal && held['strict'] === true)
    checkStrict(held['parameters'], {
      what: `function '${name}'`,
      param: `${place}.parameters`,
      code: 'invalid_function_parameters',
    });
}

/** These parameters mean nothing without another one. */
function checkDependents(body: JsonObject): void {
  const needed = { top_logprobs: 'logprobs', stream_options: 'stream' };
  for (const [param, other] of Object.entries(needed))
    if (body[param] != null && body[other] !== true)
      throw new RequestError(
        `The '${param}' parameter is only allowed when '${other}' is enabled.`,
        param,
        null,
      );
}

function checkTraits(endpoint: BatchEndpoint, body: JsonObject, traits: ModelTraits): void {
  const isChat = endpoint === '/chat/completions';
  if (isChat && traits.reasoning === 'never' && body['reasoning_effort'] != null)
    throw new RequestError('Unrecognized request argument supplied: reasoning_effort', null, null);
  if (isChat && traits.reasoning !== 'never') refuseOf(body, ALWAYS_REFUSED);
  const reasoning = isObject(body['reasoning']) ? body['reasoning']['effort'] : undefined;
  if (endpoint === '/responses' && traits.reasoning === 'never' && reasoning != null)
    throw unsupported('reasoning.effort');
  if ((isChat || endpoint === '/responses') && reasonsOver(traits, body['reasoning_effort'] ?? reasoning))
    checkSampling(body, endpoint);
  checkLengths(body, traits);
}

const INSTEAD = " Use 'max_completion_tokens' instead.";
/** Models that reason never take these parameters. */
const ALWAYS_REFUSED: Readonly<Record<string, string>> = {
  max_tokens: INSTEAD,
  stop: '',
  logit_bias: '',
  prediction: '',
};

function refuseOf(body: JsonObject, refused: Readonly<Record<string, string>>): void {
  for (const [name, instead] of Object.entries(refused))
    if (body[name] != null) throw unsupported(name, instead);
}

/** These are refused while a model reasons, unless they have their default value. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  top_p: 1,
  frequency_penalty: 0,
  presence_penalty: 0,
  logprobs: false,
  top_logprobs: 0,
};

function checkSampling(body: JsonObject, endpoint: BatchEndpoint): void {
  const { temperature } = body;
  if (temperature != null && temperature !== 1) {
    if (endpoint === '/responses')
      throw new RequestError(unsupported('temperature').message, 'temperature', null);
    throw new RequestError(
      `Unsupported value: 'temperature' does not support ${JSON.stringify(temperature)} with this model. Only the default (1) ` +
        'value is supported.',
      'temperature',
      'unsupported_value',
    );
  }
  for (const [name, usual] of Object.entries(DEFAULTS))
    if (body[name] != null && body[name] !== usual) throw unsupported(name);
}

function checkLengths(body: JsonObject, { outputTokensMax, contextTokensMax, kind }: ModelTraits): void {
  const { max_tokens: classic, max_completion_tokens: newer } = body;
  if (classic != null && newer != null)
    throw new RequestError(
      "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
      'max_tokens',
      'invalid_parameter_combination',
    );
  for (const name of ['max_tokens', 'max_completion_tokens']) {
    const wanted = body[name];
    if (kind === 'chat' && typeof wanted === 'number' && wanted > outputTokensMax)
      throw new RequestError(
        `${name} is too large: ${wanted}. This model supports at most ${outputTokensMax} completion tokens, whereas you ` +
          `provided ${wanted}.`,
        name,
        'invalid_value',
      );
  }
  const tokens = tokensOf(body['messages']);
  if (tokens <= contextTokensMax) return;
  throw new RequestError(
    `This model's maximum context length is ${contextTokensMax} tokens. However, your messages resulted in ${tokens} tokens. ` +
      'Please reduce the length of the messages.',
    'messages',
    'context_length_exceeded',
  );
}
