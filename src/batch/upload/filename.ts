import { ApiError } from '../../contract/error.ts';
import type { FilePurpose } from '../../contract/file.ts';

const FILENAME_MAX = 255;
/** These are C0, DEL, C1, the line separators, and the marks that reorder text on a screen. */
// eslint-disable-next-line no-control-regex
const UNSHOWABLE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** A file that came without a name gets this one. */
const NO_NAME = 'upload.jsonl';

/**
 * Returns the caller's name for a file as the row keeps it. The name never reaches the file system. It needs no extension,
 * as SDKs name bytes `upload` and temporary files have none. An extension of another format is refused.
 */
export function toFilename(
  given: string,
  {
    purpose,
    dialect,
    param = 'file',
  }: { purpose: FilePurpose; dialect: 'azure' | 'openai'; param?: 'file' | 'filename' },
): string {
  const name = given
    .toWellFormed()
    .replaceAll('\\', '/')
    .slice(given.replaceAll('\\', '/').lastIndexOf('/') + 1)
    .replace(UNSHOWABLE, '_')
    .trim();
  const dot = name.lastIndexOf('.');
  const suffix = dot === -1 ? '' : name.slice(dot);
  if (purpose === 'batch' && !['', '.', '.jsonl'].includes(suffix.toLowerCase())) {
    const message =
      dialect === 'azure'
        ? 'fileName contains an invalid filename: wrong suffix. It must end in .jsonl, or have no suffix.'
        : 'Invalid file format for Batch API. Must be .jsonl';
    throw new ApiError('invalidValue', message, { param });
  }
  if (['', '.', '..'].includes(name)) return NO_NAME;
  if (name.length <= FILENAME_MAX) return name;
  const kept = suffix.length < FILENAME_MAX ? suffix : '';
  // The cut may fall inside a surrogate pair, which `toWellFormed` mends.
  return name.slice(0, FILENAME_MAX - kept.length).toWellFormed() + kept;
}
