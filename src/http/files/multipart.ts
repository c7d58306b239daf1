/**
 * Reads a multipart form with one file. The file streams through. SDKs send the other parts before or after it.
 * Invariant: what comes after the file is checked before the file's stream ends. Otherwise a bad form stores a file.
 */
import type { MultipartFile, MultipartValue } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { ApiError } from '../../contract/error.ts';

type Part = MultipartFile | MultipartValue;

const PARTS_MAX = 10;
/** Boundaries, part headers and the other fields come on top of the file. */
export const FRAMING_BYTES_MAX = 1024 * 1024;

export interface FormFile {
  readonly filename: string;
  /** They end with the form, and not with the file. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

interface FormOptions<T> {
  readonly fileField: 'file' | 'data';
  readonly fields: FormFields;
  readonly store: (file: FormFile) => Promise<T>;
}

interface Announced {
  /** What the form must have. The refusal of another one names it. */
  readonly parts: string;
  readonly param: 'file' | 'data';
  readonly bytesMax: number;
  readonly tooLarge: string;
}

/** A hook for `onRequest`: it judges what the headers announce before a byte of the body is asked for. */
export const announcedFile =
  ({ parts, param, bytesMax, tooLarge }: Announced) =>
  async ({ headers }: FastifyRequest): Promise<void> => {
    if (!/^multipart\/form-data\b/i.test(headers['content-type'] ?? ''))
      throw new ApiError('unsupportedMediaType', `Send multipart/form-data with ${parts}.`);
    if (Number(headers['content-length'] ?? 0) > bytesMax + FRAMING_BYTES_MAX)
      throw new ApiError('fileTooLarge', tooLarge, { param });
  };

export async function receiveForm<T>(request: FastifyRequest, options: FormOptions<T>): Promise<T> {
  try {
    return await storeParts(request, options);
  } finally {
    // What was not read would block the connection. `cutOffSlowBodies` limits what is drained.
    request.raw.unpipe();
    request.raw.resume();
  }
}

async function storeParts<T>(
  request: FastifyRequest,
  { fileField, fields, store }: FormOptions<T>,
): Promise<T> {
  const parts = request
    .parts({
      limits: { parts: PARTS_MAX, files: 1, fieldSize: 4096, headerPairs: 20, fileSize: Infinity },
      // A part of this name is the file, even without a filename.
      isPartAFile: (name: string | undefined, _type: string | undefined, filename: string | undefined) =>
        name === fileField || filename !== undefined,
    })
    [Symbol.asyncIterator]();
  for (;;) {
    const part = await nextPart(parts);
    if (part === undefined) break;
    if (part.type === 'field') fields.add(part);
    else if (part.fieldname === fileField)
      return store({ filename: part.filename ?? '', chunks: fileThenForm(part, parts, fields) });
    else
      throw new ApiError(
        'invalidPayload',
        `Unexpected file part '${part.fieldname}'. Name it '${fileField}'.`,
      );
  }
  fields.check();
  throw new ApiError('missingParameter', `Missing required parameter: '${fileField}'.`, { param: fileField });
}

async function* fileThenForm(
  file: MultipartFile,
  parts: AsyncIterator<Part>,
  fields: FormFields,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of file.file) yield chunk;
  } catch (error) {
    throw malformed(error);
  }
  for (let part = await nextPart(parts); part !== undefined; part = await nextPart(parts)) {
    if (part.type === 'field') fields.add(part);
    else throw new ApiError('invalidPayload', 'Send one file per upload.', { param: file.fieldname });
  }
  fields.check();
}

async function nextPart(parts: AsyncIterator<Part>): Promise<Part | undefined> {
  try {
    const next = await parts.next();
    if (next.done === true) return undefined;
    checkCoding(next.value);
    return next.value;
  } catch (error) {
    throw error instanceof ApiError ? error : malformed(error);
  }
}

const PLAIN_CODINGS = ['7bit', '8bit', 'binary'];

/** Browsers and SDKs send parts as they are (RFC 7578). Nothing here undoes another coding. */
function checkCoding({ fieldname, encoding }: Part): void {
  if (PLAIN_CODINGS.includes(encoding.toLowerCase())) return;
  throw new ApiError(
    'unsupportedMediaType',
    `The part '${fieldname}' has the Content-Transfer-Encoding '${encoding.slice(0, 40)}'. Send its bytes as they are, without that header.`,
    { param: fieldname },
  );
}

const LIMIT_MESSAGES: Readonly<Record<string, string>> = {
  FST_PARTS_LIMIT: `The form has more than ${PARTS_MAX} parts.`,
  FST_FILES_LIMIT: 'Send one file per upload.',
};

function malformed(cause: unknown): ApiError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const message =
    LIMIT_MESSAGES[code] ??
    'The multipart body is malformed or was cut off. Check the boundary, and that the whole body was sent.';
  return new ApiError('invalidPayload', message, { cause });
}

/** The fields of a form. Each may come once. */
export class FormFields {
  readonly #values = new Map<string, string>();

  add(part: MultipartValue): void {
    const { fieldname, value } = part;
    if (typeof fieldname !== 'string')
      throw new ApiError('invalidPayload', 'A part of the form has no name.');
    if (part.valueTruncated === true)
      throw new ApiError('invalidPayload', `The part '${fieldname}' is too long.`, { param: fieldname });
    if (this.#values.has(fieldname))
      throw new ApiError('invalidPayload', `The part '${fieldname}' was sent twice.`, { param: fieldname });
    this.#values.set(fieldname, String(value));
    this.onField(fieldname, String(value));
  }

  get(name: string): string | undefined {
    return this.#values.get(name);
  }

  /** Throws when the field alone shows that the form is wrong. */
  protected onField(_name: string, _value: string): void {}

  /** Throws unless the form is complete and right. */
  check(): void {}
}
