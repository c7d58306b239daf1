import type { BatchEndpoint } from '../../contract/batch.ts';
import { isObject } from './body.ts';
import type { Body } from './body.ts';
import { checkInput, checkMessages } from './conversation.ts';
import { baseOf, OPERATIONS, reasonsOver, traitsOf } from './models.ts';
import type { ModelTraits } from './models.ts';
import { checkNames, checkParameters } from './parameters.ts';
import {
  missing,
  OperationNotSupported,
  RequestError,
  tooLong,
  unsupported,
  wrongType,
  wrongValue,
} from './request-error.ts';
import { tokensOf } from './tokens.ts';

/**
 * Refuses what the original refuses, with its code and its words, so that a faulty pipeline is found before it costs
 * anything. A model that is none of the original's has names and limits of its own: there only types and bounds count.
 */
export function checkRequest(endpoint: BatchEndpoint, body: Body, model: string): void {
  const traits = traitsOf(model);
  if (traits) checkOperation(endpoint, traits, model);
  const isChat = endpoint === '/chat/completions';
  if (isChat && body['messages'] == null) throw missing('messages');
  // A model server of one's own has names of its own.
  if (traits) checkNames(endpoint, body);
  if (isChat) checkMessages(body['messages']);
  if (endpoint === '/responses') checkInput(body['input']);
  checkParameters(endpoint, body);
  if (isChat) checkFormat(body, traits !== null);
  if (isChat || endpoint === '/responses') {
    checkTools(body, endpoint);
    checkLogprobs(body, endpoint);
  }
  if (traits) checkTraits(endpoint, body, traits);
}

function checkOperation(endpoint: BatchEndpoint, { kind }: ModelTraits, model: string): void {
  const embeds = endpoint === '/embeddings';
  // Old versions of gpt-35-turbo complete texts.
  const completes = endpoint !== '/completions' || model.startsWith('gpt-35-turbo');
  if (embeds !== (kind === 'embedding') || !completes)
    throw new OperationNotSupported(OPERATIONS[endpoint], baseOf(model) ?? model);
}

const FORMATS = ['json_object', 'json_schema', 'text'];

function checkFormat({ response_format: format, messages }: Body, isOriginal: boolean): void {
  if (!isObject(format)) return;
  const { type, json_schema: schema } = format;
  if (type === undefined) throw missing('response_format.type');
  if (typeof type !== 'string' || !FORMATS.includes(type))
    throw wrongValue('response_format.type', type, FORMATS);
  if (type === 'json_schema') {
    if (!isObject(schema)) throw missing('response_format.json_schema');
    if (schema['name'] === undefined) throw missing('response_format.json_schema.name');
  }
  if (type === 'json_object' && isOriginal && !/json/i.test(JSON.stringify(messages)))
    throw new RequestError(
      "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
      'messages',
      null,
    );
}

const TOOLS_MAX = 128;
const NAME = /^[a-zA-Z0-9_-]+$/;

function checkTools({ tools, tool_choice: choice }: Body, endpoint: BatchEndpoint): void {
  if (tools === undefined || tools === null) {
    if (choice !== undefined && choice !== null && choice !== 'none' && endpoint === '/chat/completions')
      throw new RequestError(
        "'tool_choice' is only allowed when 'tools' are specified.",
        'tool_choice',
        null,
      );
    return;
  }
  if (!Array.isArray(tools)) throw wrongType('tools', 'an array of objects', tools);
  if (tools.length > TOOLS_MAX) throw tooLong('tools', TOOLS_MAX, tools.length);
  for (const [index, tool] of (tools as readonly unknown[]).entries())
    checkTool(tool, `tools[${index}]`, endpoint);
  const words = ['none', 'auto', 'required'];
  if (typeof choice === 'string' && !words.includes(choice)) throw wrongValue('tool_choice', choice, words);
}

function checkTool(tool: unknown, at: string, endpoint: BatchEndpoint): void {
  if (!isObject(tool)) throw wrongType(at, 'an object', tool);
  if (tool['type'] === undefined) throw missing(`${at}.type`);
  if (tool['type'] !== 'function') return;
  // Chat completions wrap it, responses do not.
  const isWrapped = endpoint === '/chat/completions';
  const held = isWrapped ? tool['function'] : tool;
  const place = isWrapped ? `${at}.function` : at;
  if (!isObject(held)) throw missing(place);
  const { name } = held;
  if (name === undefined) throw missing(`${place}.name`);
  if (typeof name !== 'string') throw wrongType(`${place}.name`, 'a string', name);
  if (!NAME.test(name))
    throw new RequestError(
      `Invalid '${place}.name': string does not match pattern. Expected a string that matches the pattern '${NAME.source}'.`,
      `${place}.name`,
      'invalid_value',
    );
}

function checkLogprobs({ logprobs, top_logprobs: top }: Body, endpoint: BatchEndpoint): void {
  if (endpoint !== '/chat/completions' || top === undefined || top === null || logprobs === true) return;
  throw new RequestError(
    "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
    'top_logprobs',
    null,
  );
}

function checkTraits(endpoint: BatchEndpoint, body: Body, traits: ModelTraits): void {
  const isChat = endpoint === '/chat/completions';
  if (isChat && traits.reasoning === 'never' && body['reasoning_effort'] != null)
    throw new RequestError('Unrecognized request argument supplied: reasoning_effort', null, null);
  if (isChat && traits.reasoning !== 'never') refuseOf(body, ALWAYS_REFUSED);
  const reasoning = isObject(body['reasoning']) ? body['reasoning']['effort'] : undefined;
  if ((isChat || endpoint === '/responses') && reasonsOver(traits, body['reasoning_effort'] ?? reasoning))
    checkSampling(body, endpoint);
  checkLengths(body, traits);
}

const INSTEAD = " Use 'max_completion_tokens' instead.";
/** Parameters that models that reason never take. */
const ALWAYS_REFUSED: Readonly<Record<string, string>> = {
  max_tokens: INSTEAD,
  stop: '',
  logit_bias: '',
  prediction: '',
};

function refuseOf(body: Body, refused: Readonly<Record<string, string>>): void {
  for (const [name, instead] of Object.entries(refused))
    if (body[name] != null) throw unsupported(name, instead);
}

/** What is refused while a model reasons, unless it says what would be anyway. */
const DEFAULTS: Readonly<Record<string, unknown>> = {
  top_p: 1,
  frequency_penalty: 0,
  presence_penalty: 0,
  logprobs: false,
  top_logprobs: 0,
};

function checkSampling(body: Body, endpoint: BatchEndpoint): void {
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

function checkLengths(body: Body, { outputTokensMax, contextTokensMax, kind }: ModelTraits): void {
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
