import { isObject, type JsonObject } from '../json.ts';
import type { Random } from './random.ts';
import { missing, RequestError } from './request-error.ts';
import { sampleSchema } from './schema.ts';
import { simulatedText } from './text.ts';

export interface ReplyRequest {
  readonly question: string;
  readonly format?: unknown;
  readonly body: JsonObject;
  readonly tool: Tool | null;
}

/** A tool that must be called. When the caller named it, the original says `stop` and not `tool_calls`. */
export interface Tool {
  readonly name: string;
  readonly parameters: unknown;
  readonly named: boolean;
}

export interface Reply {
  /** The text that is said, or the call's arguments. */
  readonly text: string;
  readonly call: Tool | null;
  /** True when the token limit cut it short. */
  readonly cut: boolean;
}

/** Answers a question in the form that the request asks for. */
export function reply({ question, format, body, tool }: ReplyRequest, random: Random): Reply {
  const whole =
    tool !== null
      ? JSON.stringify(sampleSchema(tool.parameters, random))
      : formatted(question, format, random);
  const tokensMax = body['max_completion_tokens'] ?? body['max_output_tokens'] ?? body['max_tokens'];
  const lengthMax = typeof tokensMax === 'number' && tokensMax >= 1 ? tokensMax * 4 : Infinity;
  const cut = whole.length > lengthMax;
  return { text: cut ? whole.slice(0, lengthMax).toWellFormed() : whole, call: tool, cut };
}

function formatted(question: string, format: unknown, random: Random): string {
  if (!isObject(format) || format['type'] === 'text') return simulatedText(question, random);
  if (format['type'] === 'json_object')
    return JSON.stringify({ simulated: true, answer: simulatedText(question, random) });
  if (format['type'] !== 'json_schema') return simulatedText(question, random);
  // Chat completions wrap the schema, responses do not.
  const holder = isObject(format['json_schema']) ? format['json_schema'] : format;
  if (!isObject(holder['schema'])) throw missing('response_format.json_schema.schema');
  return JSON.stringify(sampleSchema(holder['schema'], random));
}

export function chosenTool({ tools, tool_choice: choice }: JsonObject): Tool | null {
  if (!Array.isArray(tools) || (choice !== 'required' && !isObject(choice))) return null;
  // Chat completions wrap a function, responses do not.
  const functions = tools
    .filter(isObject)
    .map((tool) => (isObject(tool['function']) ? tool['function'] : tool));
  const wanted = isObject(choice)
    ? isObject(choice['function'])
      ? choice['function']['name']
      : choice['name']
    : undefined;
  const chosen = wanted === undefined ? functions[0] : functions.find((tool) => tool['name'] === wanted);
  if (chosen === undefined || typeof chosen['name'] !== 'string')
    throw new RequestError("'tool_choice' names no function of 'tools'.", 'tool_choice', 'invalid_value');
  return {
    name: chosen['name'],
    parameters: chosen['parameters'] ?? { type: 'object' },
    named: wanted !== undefined,
  };
}
