/**
 * Reads an upload: a multipart form whose file streams through, with the other parts before or after it (SDKs do
 * both). What comes after the file is checked before the last chunk is handed on, so that a bad form stores nothing.
 */
import type { MultipartFile, MultipartValue } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { INPUT_BYTES_MAX } from '../contract/batch.ts';
import { ApiError, type Dialect } from '../contract/error.ts';
import type { FileRow } from '../contract/file.ts';
import { toFilename } from '../batch/upload/filename.ts';
import type { Upload } from '../batch/upload/upload.ts';
import { flattened, parseExpiresAfter } from './expiry.ts';
import { WRONG_PURPOSE } from './schemas.ts';
import type { Surface } from './surface.ts';

type Part = MultipartFile | MultipartValue;

const PARTS_MAX = 10;
/** Boundaries, part headers and the other fields, on top of the file. */
export const FRAMING_BYTES_MAX = 1024 * 1024;

const PARSER_OPTIONS = {
  limits: { parts: PARTS_MAX, files: 1, fieldSize: 4096, headerPairs: 20, fileSize: Infinity },
  // A file without a name is still the file.
  isPartAFile: (name: string | undefined, _type: string | undefined, filename: string | undefined) =>
    name === 'file' || filename !== undefined,
} as const;

/** What the headers announce is judged before a byte of the body is asked for. */
export async function checkAnnounced(request: FastifyRequest): Promise<void> {
  if (!/^multipart\/form-data\b/i.test(request.headers['content-type'] ?? ''))
    throw new ApiError('unsupportedMediaType', 'Send multipart/form-data with the parts purpose and file.');
  if (Number(request.headers['content-length'] ?? 0) > INPUT_BYTES_MAX + FRAMING_BYTES_MAX)
    throw new ApiError(
      'fileTooLarge',
      `The file is larger than ${INPUT_BYTES_MAX} bytes, the limit for one file. Split it into several files.`,
      {
        param: 'file',
      },
    );
}

export async function receiveUpload(
  request: FastifyRequest,
  surface: Surface,
  store: (upload: Upload) => Promise<FileRow>,
): Promise<FileRow> {
  try {
    return await storeParts(request, surface, store);
  } finally {
    // Whatever was not read would block the connection; the body watch bounds what is drained.
    request.raw.unpipe();
    request.raw.resume();
  }
}

async function storeParts(
  request: FastifyRequest,
  surface: Surface,
  store: (upload: Upload) => Promise<FileRow>,
): Promise<FileRow> {
  const parts = request.parts(PARSER_OPTIONS)[Symbol.asyncIterator]();
  const form = new Form(surface);
  for (;;) {
    const part = await nextPart(parts);
    if (part === undefined) break;
    if (part.type === 'field') form.add(part);
    else if (part.fieldname === 'file') {
      const chunks = fileThenForm(part, parts, form);
      return store({
        filename: await judgedName(part.filename ?? '', { chunks, dialect: surface.dialect }),
        purpose: 'batch',
        dialect: surface.dialect,
        chunks,
        // Known once `chunks` has ended; the row is made after that.
        get expiresAfterS() {
          return form.expiresAfterS;
        },
      });
    } else throw new ApiError('invalidPayload', `Unexpected file part '${part.fieldname}'. Name it 'file'.`);
  }
  form.check();
  throw new ApiError('missingParameter', "Missing required parameter: 'file'.", { param: 'file' });
}

/** What is wrong with the rest of the form, such as its purpose, is told rather than that the name is. */
async function judgedName(
  filename: string,
  { chunks, dialect }: { chunks: AsyncIterable<Uint8Array>; dialect: Dialect },
): Promise<string> {
  try {
    return toFilename(filename, { purpose: 'batch', dialect });
  } catch (refusal) {
    for await (const _chunk of chunks);
    throw refusal;
  }
}

async function* fileThenForm(
  file: MultipartFile,
  parts: AsyncIterator<Part>,
  form: Form,
): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of file.file) yield chunk;
  } catch (error) {
    throw malformed(error);
  }
  for (let part = await nextPart(parts); part !== undefined; part = await nextPart(parts)) {
    if (part.type === 'field') form.add(part);
    else throw new ApiError('invalidPayload', 'Send one file per upload.', { param: 'file' });
  }
  form.check();
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

/** Browsers and SDKs send parts as they are (RFC 7578); bytes in another coding would be stored in it. */
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

class Form {
  readonly #surface: Surface;
  readonly #fields = new Map<string, string>();
  #expiresAfterS: number | null = null;
  constructor(surface: Surface) {
    this.#surface = surface;
  }

  add(part: MultipartValue): void {
    const { fieldname, value } = part;
    if (typeof fieldname !== 'string')
      throw new ApiError('invalidPayload', 'A part of the form has no name.');
    if (part.valueTruncated === true)
      throw new ApiError('invalidPayload', `The part '${fieldname}' is too long.`, { param: fieldname });
    if (this.#fields.has(fieldname))
      throw new ApiError('invalidPayload', `The part '${fieldname}' was sent twice.`, { param: fieldname });
    if (fieldname === 'purpose') checkPurpose(String(value));
    this.#fields.set(fieldname, String(value));
  }

  /** Throws unless the form is complete and right. */
  check(): void {
    const purpose = this.#fields.get('purpose');
    if (purpose === undefined)
      throw new ApiError('missingParameter', "Missing required parameter: 'purpose'.", { param: 'purpose' });
    if (!this.#surface.fileExpiry) return;
    const wanted = flattened((key) => this.#fields.get(key), 'expires_after');
    this.#expiresAfterS = parseExpiresAfter(wanted, {
      dialect: this.#surface.dialect,
      param: 'expires_after',
    });
  }

  get expiresAfterS(): number | null {
    return this.#expiresAfterS;
  }
}

/** The other purposes belong to services that are not here. */
function checkPurpose(purpose: string): void {
  if (purpose !== 'batch') throw new ApiError('invalidPayload', WRONG_PURPOSE, { param: 'purpose' });
}
