/** Sends stored files: whole, in ranges, or whole lines from an offset. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { ApiError } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { BlobStore } from '../../stores/blobs/port.ts';

export interface Http {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

export function sendFile(
  { request, reply }: Http,
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

/** HEAD is answered with the headers alone, and nothing is read for it. */
export function sendBytes({ request, reply }: Http, read: () => AsyncIterable<Uint8Array>): FastifyReply {
  if (request.method === 'HEAD') return reply.send(Readable.from([]));
  const bytes = read();
  return reply.send(bytes instanceof Readable ? bytes : Readable.from(bytes, { objectMode: false }));
}

/** Browsers must neither show the bytes nor guess their type: a tenant may have uploaded anything. */
export const downloadHeaders = (reply: FastifyReply, filename: string): FastifyReply =>
  reply
    .type('application/octet-stream')
    .header('content-disposition', contentDisposition(filename))
    .header('x-content-type-options', 'nosniff');

/** Follows RFC 6266: old clients get a plain name, others the true one, percent-encoded. */
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

/** Reads one range of RFC 9110. A malformed one, or several, is ignored: the whole file is sent. */
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

/** Skips `skip` lines of a stream, and gives the next `take`. */
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
