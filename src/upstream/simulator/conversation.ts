import { isObject, type JsonObject } from '../json.ts';
import { emptyArray, missing, RequestError, wrongPattern, wrongType, wrongValue } from './request-error.ts';

const ROLES = ['system', 'assistant', 'user', 'function', 'tool', 'developer'];
const CHAT_PARTS = ['text', 'image_url', 'input_audio', 'refusal', 'audio', 'file'];
const INPUT_ROLES = ['assistant', 'system', 'developer', 'user'];
const INPUT_PARTS = [
  'input_text',
  'input_image',
  'output_text',
  'refusal',
  'input_file',
  'computer_screenshot',
  'summary_text',
];

/** Checks the messages of a chat completion. */
export function checkMessages(messages: unknown): void {
  if (!Array.isArray(messages)) throw wrongType('messages', 'an array of objects', messages);
  if (messages.length === 0) throw emptyArray('messages');
  for (const [index, message] of (messages as readonly unknown[]).entries()) {
    const at = `messages[${index}]`;
    if (!isObject(message)) throw wrongType(at, 'an object', message);
    checkMessage(message, at, { roles: ROLES, parts: CHAT_PARTS });
    if (message['role'] === 'tool') checkToolMessage(messages as readonly unknown[], index);
    if (message['content'] == null && !saysOtherwise(message))
      throw new RequestError(
        "Invalid value for 'content': expected a string, got null.",
        `messages.[${index}].content`,
        null,
      );
  }
  for (const index of messages.keys()) checkToolCalls(messages as readonly unknown[], index);
}

/** An assistant that calls or speaks needs no text, and a function may give nothing back. */
const saysOtherwise = ({ role, ...message }: JsonObject): boolean =>
  role === 'function' ||
  (role === 'assistant' &&
    ['tool_calls', 'function_call', 'audio', 'refusal'].some((name) => message[name] != null));

/** Checks the input of a response: a text, or items, of which only messages are checked. It may be left out. */
export function checkInput({
  input,
  prompt,
  previous_response_id: previous,
  conversation,
}: JsonObject): void {
  if (input == null && (prompt ?? previous ?? conversation) != null) return;
  if (input === undefined || input === null) throw missing('input');
  if (typeof input === 'string') return;
  if (!Array.isArray(input)) throw wrongType('input', 'one of a string or array of input items', input);
  for (const [index, item] of (input as readonly unknown[]).entries()) {
    const at = `input[${index}]`;
    if (!isObject(item)) throw wrongType(at, 'an input item', item);
    if ((item['type'] ?? 'message') === 'message')
      checkMessage(item, at, { roles: INPUT_ROLES, parts: INPUT_PARTS });
  }
}

interface Known {
  readonly roles: readonly string[];
  readonly parts: readonly string[];
}

function checkMessage(message: JsonObject, at: string, { roles, parts }: Known): void {
  const { role, content, name } = message;
  if (role === undefined || role === null) throw missing(`${at}.role`);
  if (typeof role !== 'string' || !roles.includes(role)) throw wrongValue(`${at}.role`, role, roles);
  if (typeof name === 'string' && !NAME.test(name)) throw wrongPattern(`${at}.name`, NAME);
  if (content === undefined || content === null || typeof content === 'string') return;
  if (!Array.isArray(content))
    throw wrongType(`${at}.content`, 'one of a string or array of objects', content);
  for (const [index, part] of (content as readonly unknown[]).entries()) {
    const place = `${at}.content[${index}]`;
    if (!isObject(part)) throw wrongType(place, 'an object', part);
    const { type } = part;
    if (type === undefined || type === null) throw missing(`${place}.type`);
    if (typeof type !== 'string' || !parts.includes(type)) throw wrongValue(`${place}.type`, type, parts);
    checkPart(part, place);
  }
}

const NAME = /^[^\s<|\\/>]+$/;

function checkPart(part: JsonObject, at: string): void {
  const { type, text, image_url: image } = part;
  if (type === 'text' || type === 'input_text') {
    if (text === undefined || text === null) throw missing(`${at}.text`);
    if (typeof text !== 'string') throw wrongType(`${at}.text`, 'a string', text);
  }
  if (type === 'image_url') {
    if (image === undefined || image === null) throw missing(`${at}.image_url`);
    if (!isObject(image)) throw wrongType(`${at}.image_url`, 'an object', image);
    if (image['url'] == null) throw missing(`${at}.image_url.url`);
  }
  if (type === 'input_image' && image != null && typeof image !== 'string')
    throw wrongType(`${at}.image_url`, 'an image URL', image);
}

/** A message right behind each call must answer it. */
function checkToolCalls(messages: readonly unknown[], index: number): void {
  const message = messages[index];
  const calls = isObject(message) && message['role'] === 'assistant' ? message['tool_calls'] : undefined;
  if (calls === undefined || calls === null) return;
  const at = `messages[${index}].tool_calls`;
  if (!Array.isArray(calls)) throw wrongType(at, 'an array of objects', calls);
  if (calls.length === 0) throw emptyArray(at);
  const rest = messages.slice(index + 1);
  const end = rest.findIndex((one) => !isObject(one) || one['role'] !== 'tool');
  const answers = end === -1 ? rest : rest.slice(0, end);
  const answered = new Set(answers.map((one) => (isObject(one) ? one['tool_call_id'] : undefined)));
  const open = (calls as readonly unknown[])
    .map((call) => (isObject(call) ? call['id'] : undefined))
    .filter((id) => !answered.has(id));
  if (open.length === 0) return;
  throw new RequestError(
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The " +
      `following tool_call_ids did not have response messages: ${open.join(', ')}`,
    `messages.[${end === -1 ? index : index + 1 + end}].role`,
    null,
  );
}

/** It must answer a call of the assistant's message before it. */
function checkToolMessage(messages: readonly unknown[], index: number): void {
  const message = messages[index];
  const before = messages.slice(0, index).findLast((one) => isObject(one) && one['role'] !== 'tool');
  if (isObject(message) && message['tool_call_id'] == null) throw missing(`messages[${index}].tool_call_id`);
  if (isObject(before) && Array.isArray(before['tool_calls'])) return;
  throw new RequestError(
    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
    `messages.[${index}].role`,
    null,
  );
}
