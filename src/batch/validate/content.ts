import type { BatchEndpoint } from '../../contract/batch.ts';
import type { FaultOfLine } from '../../contract/inspection.ts';
import type { ByteRange } from '../request-line.ts';
import { invalidRequest, required, typeAt } from './line-faults.ts';
import type { RequestShape } from './scan.ts';

/**
 * Returns the fault when what the model is asked is missing, of the wrong type or empty. An upstream would refuse such a line,
 * after a call. Whatever the original takes is taken: a completion may have an empty or a null prompt, and a response may
 * go on from something that the server keeps, in place of an input.
 */
export function faultOfContent(
  line: Buffer,
  shape: RequestShape,
  endpoint: BatchEndpoint,
): FaultOfLine | undefined {
  switch (endpoint) {
    case '/chat/completions':
      return faultOf('messages', line, shape.messages, { text: false, emptyText: false });
    case '/completions':
      if (isNull(line, shape.prompt)) return undefined;
      return faultOf('prompt', line, shape.prompt, { text: true, emptyText: true });
    case '/embeddings':
      return faultOf('input', line, shape.input, { text: true, emptyText: false });
    case '/responses': {
      if (goesOn(line, shape) && isAbsent(line, shape.input)) return undefined;
      return faultOf('input', line, shape.input, { text: true, emptyText: false });
    }
  }
}

/** Whether it goes on from an earlier response, a conversation, or a stored prompt, which is an object. An empty name is none. */
const goesOn = (line: Buffer, { previousResponseId, conversation, prompt }: RequestShape): boolean =>
  isName(line, previousResponseId) ||
  isName(line, conversation) ||
  isObject(line, conversation) ||
  isObject(line, prompt);

const isName = (line: Buffer, value: ByteRange | undefined): boolean =>
  value !== undefined && line[value.start] === QUOTE && !isEmpty(line, value);
const isObject = (line: Buffer, value: ByteRange | undefined): boolean =>
  value !== undefined && line[value.start] === OPEN_BRACE;

const QUOTE = 0x22;
const OPEN_BRACE = 0x7b;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const NULL = 0x6e;

interface Taken {
  /** It may be a string as well as an array. */
  readonly text: boolean;
  readonly emptyText: boolean;
}

function faultOf(
  name: 'messages' | 'prompt' | 'input',
  line: Buffer,
  value: ByteRange | undefined,
  { text, emptyText }: Taken,
): FaultOfLine | undefined {
  const problem = problemOf(line, value, { text, emptyText });
  if (problem === undefined) return undefined;
  const wanted = text ? 'a string or an array' : 'an array of messages';
  return invalidRequest(
    `body.${name}`,
    `body.${name} ${problem}. Please set it to ${wanted} that is not empty: it is what the model is asked.`,
    value ? undefined : required(name),
  );
}

function problemOf(
  line: Buffer,
  value: ByteRange | undefined,
  { text, emptyText }: Taken,
): string | undefined {
  if (!value) return 'is missing';
  const isText = line[value.start] === QUOTE;
  if (line[value.start] !== OPEN_BRACKET && !(text && isText))
    return `must be ${text ? 'a string or an array' : 'an array'}, but is ${typeAt(line, value.start)}`;
  if (isText ? !emptyText && isEmpty(line, value) : isEmpty(line, value)) return 'is empty';
  return undefined;
}

const isNull = (line: Buffer, value: ByteRange | undefined): boolean =>
  value !== undefined && line[value.start] === NULL;

/** For the original an input of a response that is left out, null or empty is absent. */
const isAbsent = (line: Buffer, value: ByteRange | undefined): boolean =>
  value === undefined || isNull(line, value) || isEmpty(line, value);

/** Whether it is `""`, or `[]`, which may have white space in it. */
function isEmpty(line: Buffer, { start, end }: ByteRange): boolean {
  if (line[start] === QUOTE) return end - start === 2;
  if (line[start] !== OPEN_BRACKET) return false;
  let at = start + 1;
  for (let byte = line[at]; byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === 0x0a;)
    byte = line[++at];
  return line[at] === CLOSE_BRACKET;
}
