import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { FirstKeys } from '../app/control.ts';

const FILE = 'first-keys.env';

/**
 * Writes keys into a file of the data directory that this user alone can read, in the form that a shell takes in, and returns
 * its path. Keys of an earlier start that are not made anew stay in it.
 */
export async function writeFirstKeys(dataDir: string, { apiKey, adminKey }: FirstKeys): Promise<string> {
  const path = join(dataDir, FILE);
  const before = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const keys = new Map(before.split('\n').map((line) => line.split('=', 2) as [string, string | undefined]));
  if (apiKey !== null) keys.set('OFFPEAK_API_KEY', apiKey);
  if (adminKey !== null) keys.set('OFFPEAK_ADMIN_KEY', adminKey);
  const lines = [...keys].flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}\n`]));
  await writePrivately(path, lines.join(''));
  return path;
}

async function writePrivately(path: string, content: string): Promise<void> {
  const part = `${path}.part`;
  const file = await open(part, 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(part, path);
}
