import { isObject } from './body.ts';
import type { Body } from './body.ts';
import { missing, RequestError, wrongType, wrongValue } from './request-error.ts';

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

/** The messages of a chat completion. */
export function checkMessages(messages: unknown): void {
  if (!Array.isArray(messages)) throw wrongType('messages', 'an array of objects', messages);
  if (messages.length === 0) throw emptyArray('messages');
  for (const [index, message] of (messages as readonly unknown[]).entries()) {
    const at = `messages[${index}]`;
    if (!isObject(message)) throw wrongType(at, 'an object', message);
    checkMessage(message, at, { roles: ROLES, parts: CHAT_PARTS });
    if (message['role'] === 'tool') checkToolMessage(messages as readonly unknown[], index);
  }
}

/** The input of a response: a text, or items, of which only messages are looked at. */
export function checkInput(input: unknown): void {
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

function checkMessage(message: Body, at: string, { roles, parts }: Known): void {
  const { role, content } = message;
  if (role === undefined || role === null) throw missing(`${at}.role`);
  if (typeof role !== 'string' || !roles.includes(role)) throw wrongValue(`${at}.role`, role, roles);
  if (content === undefined || content === null || typeof content === 'string') return;
  if (!Array.isArray(content))
    throw wrongType(`${at}.content`, 'one of a string or array of objects', content);
  for (const [index, part] of (content as readonly unknown[]).entries()) {
    const place = `${at}.content[${index}]`;
    if (!isObject(part)) throw wrongType(place, 'an object', part);
    const { type } = part;
    if (type === undefined || type === null) throw missing(`${place}.type`);
    if (typeof type !== 'string' || !parts.includes(type)) throw wrongValue(`${place}.type`, type, parts);
  }
}

/** It answers a call of the assistant that stands before it. */
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

const emptyArray = (param: string): RequestError =>
  new RequestError(
    `Invalid '${param}': empty array. Expected an array with minimum length 1, but got an empty array instead.`,
    param,
    'empty_array',
  );
