/** Sending a stored file: ranges, whole lines from an offset, and headers that keep browsers from guessing. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { ApiError } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';

export function sendFile(
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  { blobs, file, skipLines }: { blobs: BlobStore; file: FileRow; skipLines: number },
): FastifyReply {
  downloadHeaders(reply, file.filename).header('etag', `"${file.sha256}"`);
  if (skipLines > 0)
    return sendBytes({ request, reply }, () =>
      sliceLines(blobs.read(file.blobId), { skip: skipLines, take: Infinity }),
    );
  reply.header('accept-ranges', 'bytes');
  const range = wantedRange(request, file);
  if (range === 'unsatisfiable') {
    reply.header('content-range', `bytes */${file.bytes}`);
    throw new ApiError('rangeNotSatisfiable', `The range lies outside of the file's ${file.bytes} bytes.`);
  }
  const { start, length } = range ?? { start: 0, length: file.bytes };
  if (range !== undefined)
    reply.code(206).header('content-range', `bytes ${start}-${start + length - 1}/${file.bytes}`);
  reply.header('content-length', length);
  return length === 0
    ? reply.send(Buffer.alloc(0))
    : sendBytes({ request, reply }, () => blobs.read(file.blobId, { start, length }));
}

/** HEAD answers with the headers alone, and nothing is read for it. */
export function sendBytes(
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  read: () => AsyncIterable<Uint8Array>,
): FastifyReply {
  if (request.method === 'HEAD') return reply.send(Readable.from([]));
  const bytes = read();
  return reply.send(bytes instanceof Readable ? bytes : Readable.from(bytes, { objectMode: false }));
}

/** Never shown in the browser, never guessed at: the bytes are the tenant's and may be anything. */
export const downloadHeaders = (reply: FastifyReply, filename: string): FastifyReply =>
  reply
    .type('application/octet-stream')
    .header('content-disposition', contentDisposition(filename))
    .header('x-content-type-options', 'nosniff');

/** RFC 6266: a plain name for old clients, the true one percent-encoded. */
export function contentDisposition(filename: string): string {
  const plain = filename.replaceAll(/[^\x20-\x7e]|["\\%]/g, '_');
  const encoded = encodeURIComponent(filename.toWellFormed()).replaceAll(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}

export interface ByteRange {
  readonly start: number;
  readonly length: number;
}

function wantedRange(request: FastifyRequest, file: FileRow): ByteRange | 'unsatisfiable' | undefined {
  const { range } = request.headers;
  const condition = request.headers['if-range'];
  if (range === undefined || (condition !== undefined && condition !== `"${file.sha256}"`)) return undefined;
  return parseRange(range, file.bytes);
}

/** One range, as RFC 9110 has it; what is malformed or has several parts is ignored and the whole file sent. */
export function parseRange(header: string, size: number): ByteRange | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header.trim());
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  const [first, last] = [match[1] ?? '', match[2] ?? ''];
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, length };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= size) return 'unsatisfiable';
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1);
  return { start, length: end - start + 1 };
}

const NEWLINE = 0x0a;

/** Whole lines of a byte stream: `take` of them after the first `skip`. */
export async function* sliceLines(
  source: AsyncIterable<Uint8Array>,
  { skip, take }: { skip: number; take: number },
): AsyncGenerator<Uint8Array> {
  let toSkip = skip;
  let toTake = take;
  for await (const chunk of source) {
    let start = 0;
    while (toSkip > 0 && start < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, start);
      start = newline === -1 ? chunk.length : newline + 1;
      if (newline !== -1) toSkip -= 1;
    }
    let end = toTake === Infinity ? chunk.length : start;
    while (toTake > 0 && end < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, end);
      end = newline === -1 ? chunk.length : newline + 1;
      if (newline !== -1) toTake -= 1;
    }
    if (end > start) yield chunk.subarray(start, end);
    if (toTake <= 0) return;
  }
}
