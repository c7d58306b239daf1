import {
  brotliDecompress,
  gunzip,
  inflate,
  inflateRaw,
  zstdDecompress,
  type InputType,
  type ZlibOptions,
} from 'node:zlib';

/** Returns undefined when the body is sent as it is. */
export function codingsOf(header: string | undefined): readonly string[] | undefined {
  if (header === undefined || header === '') return undefined;
  const codings = header
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== 'identity' && coding !== '');
  return codings.length === 0 ? undefined : codings;
}

export const isKnown = (codings: readonly string[]): boolean =>
  codings.length <= CODINGS_MAX && codings.every((coding) => Object.hasOwn(DECODERS, coding));

/** More than one coding is rare, and each costs a pass. */
const CODINGS_MAX = 2;

export type Decoded =
  | { readonly kind: 'decoded'; readonly body: Buffer }
  | { readonly kind: 'too_long' | 'broken' };

/** Undoes `codings`, the last one first. It makes at most `bytesMax` bytes, however few came. */
export async function decode(
  body: Buffer,
  { codings, bytesMax }: { readonly codings: readonly string[]; readonly bytesMax: number },
): Promise<Decoded> {
  let decoded = body;
  for (const coding of codings.toReversed()) {
    const step = await decodeOnce(decoded, coding, bytesMax);
    if (step.kind !== 'decoded') return step;
    decoded = step.body;
  }
  return { kind: 'decoded', body: decoded };
}

function decodeOnce(body: Buffer, coding: string, bytesMax: number): Promise<Decoded> {
  const { promise, resolve } = Promise.withResolvers<Decoded>();
  // An empty body needs no decoding, whatever its header says.
  if (body.length === 0) return Promise.resolve({ kind: 'decoded', body });
  const decoder = coding === 'deflate' && !isZlib(body) ? inflateRaw : DECODERS[coding];
  decoder?.(body, { maxOutputLength: bytesMax }, (error, decoded) => {
    if (error === null) return resolve({ kind: 'decoded', body: decoded });
    resolve({ kind: 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE' ? 'too_long' : 'broken' });
  });
  return promise;
}

type Decoder = (
  body: InputType,
  options: Pick<ZlibOptions, 'maxOutputLength'>,
  done: (error: Error | null, decoded: Buffer) => void,
) => void;

const DECODERS: Readonly<Record<string, Decoder>> = {
  gzip: gunzip,
  'x-gzip': gunzip,
  deflate: inflate,
  br: brotliDecompress,
  zstd: zstdDecompress,
};

/** `deflate` means zlib's format, but many servers send the bare one. */
const isZlib = ([first = 0, second = 0]: Buffer): boolean =>
  (first & 0x0f) === 8 && (first * 256 + second) % 31 === 0;
