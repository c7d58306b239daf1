import { LINE_BYTES_MAX } from '../../contract/batch.ts';
import type { FaultOfLine, InputFault } from '../../contract/inspection.ts';
import { quote, shorten } from '../../core/quote.ts';
import { KEYS_MAX } from './members.ts';
import { DEPTH_MAX, type LineFault } from './scan.ts';

export const toInputFault = (line: number, { code, param, message, openai }: FaultOfLine): InputFault => ({
  code,
  message: `Line ${line}: ${message}`,
  param,
  line,
  ...(openai !== undefined && { openai }),
});

/** Returns the fault of a line that is no request at all. */
export function faultOfLine(bytes: Buffer, fault: LineFault): FaultOfLine {
  switch (fault.kind) {
    case 'not_utf8':
      return notJson(
        'this line is not UTF-8. Please save the file as plain, uncompressed UTF-8 text.',
        'It is not UTF-8: save the file as plain, uncompressed UTF-8 text.',
      );
    case 'not_json': {
      const found = whatIsAt(bytes, fault.at);
      return notJson(
        `this line could not be parsed as valid JSON: ${found}. Please ensure no typos, proper opening and closing brackets, and quotes as per JSON standard, and that each request is on one line.`,
        `${found[0]?.toUpperCase()}${found.slice(1)}.`,
      );
    }
    case 'not_object':
      return fault.holdsObjects
        ? notJson(
            'this line is an array of requests. Please write each request on a line of its own.',
            'It is an array of requests: write each request on a line of its own.',
          )
        : invalidRequest(
            null,
            `a request must be a JSON object, but this line is ${typeAt(bytes, fault.start)}. Please write each request as one object on one line.`,
          );
    case 'too_deep':
      return invalidRequest(null, `the JSON is nested deeper than ${DEPTH_MAX} levels. Please flatten it.`);
    case 'too_many_keys':
      return invalidRequest(
        fault.within === 'body' ? 'body' : null,
        `the ${fault.within} has more than ${KEYS_MAX} keys. Please send fewer.`,
      );
    case 'duplicate_key':
      return invalidRequest(
        fault.within === 'body' ? `body.${shorten(fault.name)}` : shorten(fault.name),
        `the key ${quote(fault.name)} is given twice in the ${fault.within}. Please keep only one of them.`,
      );
  }
}

export const OVERSIZED_LINE: FaultOfLine = {
  code: 'invalid_request',
  param: null,
  message: `this line is larger than ${LINE_BYTES_MAX / 1024 / 1024} MiB. Please make the request smaller, for example by giving images by URL.`,
};

export const invalidRequest = (
  param: string | null,
  message: string,
  openai?: InputFault['openai'],
): FaultOfLine => ({
  code: 'invalid_request',
  param,
  message,
  ...(openai !== undefined && { openai }),
});

/** OpenAI says this of a member that the body lacks. */
export const required = (name: string): InputFault['openai'] => ({
  code: 'invalid_request',
  message: `${name[0]?.toUpperCase()}${name.slice(1)} parameter is required.`,
});

/** OpenAI says this of a member that the request itself lacks. */
export const missing = (name: string): InputFault['openai'] => ({
  code: 'missing_required_parameter',
  message: `Missing required parameter: '${name}'.`,
});

const notJson = (message: string, detail: string): FaultOfLine => ({
  code: 'invalid_json_line',
  param: null,
  message,
  openai: { code: 'invalid_json_line', message: `This line is not parseable as valid JSON. ${detail}` },
});

function whatIsAt(bytes: Buffer, at: number): string {
  const byte = bytes[at];
  if (byte === undefined) return 'it ends too early';
  const shown =
    byte > 0x20 && byte < 0x7f
      ? `'${String.fromCharCode(byte)}'`
      : `byte 0x${byte.toString(16).padStart(2, '0')}`;
  return `unexpected ${shown} at position ${at + 1}`;
}

/** Returns the type of the JSON value that starts there, with its article. */
export function typeAt(bytes: Buffer, start: number): string {
  switch (String.fromCharCode(bytes[start] ?? 0)) {
    case '{':
      return 'an object';
    case '[':
      return 'an array';
    case '"':
      return 'a string';
    case 'n':
      return 'null';
    case 't':
    case 'f':
      return 'a boolean';
    default:
      return 'a number';
  }
}
