import { type BatchEndpoint, BATCH_ENDPOINTS, toBatchEndpoint } from '../../contract/batch.ts';
import { type ByteRange, stringAt } from '../request-line.ts';
import type { FaultOfLine } from '../../contract/inspection.ts';
import { quote } from '../../core/quote.ts';
import { faultOfContent } from './content.ts';
import { invalidRequest, missing, required, typeAt } from './line-faults.ts';
import type { RequestShape } from './scan.ts';

/** The limits are in UTF-16 code units. This one is wide enough for paths, URLs and composite keys. */
const CUSTOM_ID_CHARS_MAX = 512;
const MODEL_CHARS_MAX = 256;
const METHOD_CHARS_MAX = 16;
const URL_CHARS_MAX = 256;

/** What a line says on its own, before it is compared with others. Members that are missing or invalid are undefined. */
export interface RequestFacts {
  readonly customId: string | undefined;
  readonly url: BatchEndpoint | undefined;
  readonly model: string | undefined;
  /** The first fault that was found. */
  readonly fault: FaultOfLine | undefined;
}

/** Checks one request after the other. Texts that most of them share are decoded once. */
export class RequestChecker {
  readonly #method = new SharedText(METHOD_CHARS_MAX);
  readonly #url = new SharedText(URL_CHARS_MAX);
  readonly #model = new SharedText(MODEL_CHARS_MAX);

  check(line: Buffer, shape: RequestShape): RequestFacts {
    const customId = textAt(line, shape.customId, CUSTOM_ID_CHARS_MAX);
    const method = this.#method.at(line, shape.method);
    const url = this.#url.at(line, shape.url);
    const model = this.#model.at(line, shape.model);
    const endpoint = typeof url === 'string' ? toBatchEndpoint(url) : undefined;
    return {
      customId: typeof customId === 'string' ? customId : undefined,
      url: endpoint,
      model: typeof model === 'string' ? model : undefined,
      fault:
        faultOfCustomId(customId) ??
        faultOfMethod(method) ??
        (endpoint ? undefined : faultOfUrl(url)) ??
        faultOfBody(line, shape, endpoint) ??
        faultOfModel(model) ??
        (endpoint && faultOfContent(line, shape, endpoint)),
    };
  }
}

const QUOTE = 0x22;
const OPEN_BRACE = 0x7b;
const FALSE = 0x66;
const NULL = 0x6e;

interface Problem {
  /** It follows the name of the member in a sentence. */
  readonly problem: string;
  readonly isMissing?: true;
}

/** Returns the text of a member that must be a string of 1 to `charsMax` characters, or what is wrong with it. */
function textAt(line: Buffer, range: ByteRange | undefined, charsMax: number): string | Problem {
  if (!range) return { problem: 'is missing', isMissing: true };
  if (line[range.start] !== QUOTE)
    return { problem: `must be a string, but is ${typeAt(line, range.start)}` };
  // A character takes six bytes at most, as an escape. Longer strings need not be decoded.
  const text = range.end - range.start - 2 > charsMax * 6 ? undefined : stringAt(line, range);
  if (text === '') return { problem: 'is empty' };
  if (text === undefined || text.length > charsMax)
    return { problem: `is longer than ${charsMax} characters` };
  return text;
}

/** Reads a member whose text is likely to be the one of the line before. */
class SharedText {
  readonly #charsMax: number;
  #bytes = Buffer.alloc(0);
  #text: string | Problem = '';

  constructor(charsMax: number) {
    this.#charsMax = charsMax;
  }

  at(line: Buffer, range: ByteRange | undefined): string | Problem {
    if (range && this.#isAt(line, range)) return this.#text;
    this.#text = textAt(line, range, this.#charsMax);
    // A value that is no text is not kept: it may be as large as the line, and it is rare.
    const isText = range && typeof this.#text === 'string';
    this.#bytes = isText ? Buffer.from(line.subarray(range.start, range.end)) : Buffer.alloc(0);
    return this.#text;
  }

  #isAt(line: Buffer, { start, end }: ByteRange): boolean {
    const bytes = this.#bytes;
    if (end - start !== bytes.length) return false;
    for (let index = 0; index < bytes.length; index++) if (line[start + index] !== bytes[index]) return false;
    return true;
  }
}

const faultOfCustomId = (customId: string | Problem): FaultOfLine | undefined =>
  typeof customId === 'string'
    ? undefined
    : invalidRequest(
        'custom_id',
        `custom_id ${customId.problem}. Please give each request a string of 1 to ${CUSTOM_ID_CHARS_MAX} characters that is unique in the file.`,
        customId.isMissing && missing('custom_id'),
      );

function faultOfMethod(method: string | Problem): FaultOfLine | undefined {
  if (method === 'POST') return undefined;
  const problem = typeof method === 'string' ? `is ${quote(method)}` : method.problem;
  return invalidRequest(
    'method',
    `method ${problem}. Please set it to "POST", the only one a batch can send.`,
    typeof method === 'string' ? undefined : method.isMissing && missing('method'),
  );
}

function faultOfUrl(url: string | Problem): FaultOfLine {
  const choice = `Please set it to one of ${BATCH_ENDPOINTS.join(', ')}, with or without /v1.`;
  if (typeof url !== 'string')
    return invalidRequest('url', `url ${url.problem}. ${choice}`, url.isMissing && missing('url'));
  return {
    code: 'url_mismatch',
    openai: {
      code: 'invalid_url',
      message: `The URL provided for this request does not match the batch endpoint. ${choice}`,
    },
    param: 'url',
    message: ASSISTANTS.test(url)
      ? `url ${quote(url)} belongs to the Assistants API, which batches do not support. ${choice}`
      : `url ${quote(url)} is not the path of an endpoint that a batch can address. ${choice}`,
  };
}

const ASSISTANTS = /^(?:\/v1)?\/(?:assistants|threads)(?:\/|$)/;

function faultOfBody(
  line: Buffer,
  { body, stream, background, dataSources }: RequestShape,
  endpoint: BatchEndpoint | undefined,
): FaultOfLine | undefined {
  if (!body || line[body.start] !== OPEN_BRACE) {
    const problem = body ? `must be an object, but is ${typeAt(line, body.start)}` : 'is missing';
    return invalidRequest(
      'body',
      `body ${problem}. Please put the parameters of the request into it.`,
      body ? undefined : missing('body'),
    );
  }
  if (stream && !isOff(line, stream)) {
    return invalidRequest(
      'body.stream',
      `body.stream is ${shownAt(line, stream)}, but a batch cannot stream: it keeps one whole answer of each request. Please remove it, or set it to false.`,
      {
        code: 'streaming_unsupported',
        message: `${OPENAI_NAMES[endpoint ?? '/chat/completions']}: Streaming is not supported in the Batch API.`,
      },
    );
  }
  if (background && !isOff(line, background)) {
    return invalidRequest(
      'body.background',
      `body.background is ${shownAt(line, background)}, but a batch keeps the answer itself, not the promise of one. Please remove it, or set it to false.`,
    );
  }
  if (dataSources && line[dataSources.start] !== NULL) {
    return invalidRequest(
      'body.data_sources',
      'body.data_sources asks for On Your Data, which batches do not support. Please remove it, and put what the model needs to know into the messages.',
    );
  }
  return undefined;
}

const OPENAI_NAMES: Readonly<Record<BatchEndpoint, string>> = {
  '/chat/completions': 'Chat Completions',
  '/completions': 'Completions',
  '/embeddings': 'Embeddings',
  '/responses': 'Responses',
};

/** Servers that are lax about types take any text, list and object for true, and any number but 0. */
function isOff(line: Buffer, { start, end }: ByteRange): boolean {
  const byte = line[start] ?? 0;
  if (byte === FALSE || byte === NULL) return true;
  return ZERO.test(line.toString('latin1', start, end));
}

const ZERO = /^-?0(?:\.0+)?(?:[eE][+-]?\d+)?$/;

/** Shows a short value as it was written, and a long one by its type. */
const shownAt = (line: Buffer, { start, end }: ByteRange): string =>
  end - start <= SHOWN_BYTES_MAX ? line.toString('utf8', start, end) : typeAt(line, start);

const SHOWN_BYTES_MAX = 32;

const faultOfModel = (model: string | Problem): FaultOfLine | undefined =>
  typeof model === 'string'
    ? undefined
    : invalidRequest(
        'body.model',
        `body.model ${model.problem}. Please ensure that each row has a valid deployment name specified in the 'model' field.`,
        model.isMissing && required('model'),
      );
