import { createHash } from 'node:crypto';
import { join } from 'node:path';

export const BLOB_DIR = '/data/blobs';

/** Where the disk store keeps a blob; the checks look at the platter behind its back. */
export function blobPath(dir: string, id: string): string {
  const hash = createHash('sha256').update(id).digest('hex');
  return join(dir, hash.slice(0, 2), hash.slice(2, 4), id);
}
