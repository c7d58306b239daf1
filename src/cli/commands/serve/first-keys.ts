import { open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { FirstKeys } from '../../../app/first-keys.ts';

const FILE = 'first-keys.env';
const NAMES = { apiKey: 'OFFPEAK_API_KEY', adminKey: 'OFFPEAK_ADMIN_KEY' } as const;

/**
 * Writes keys into a file of the data directory, as lines that a shell can source, and returns its path. Only this user can
 * read the file. Keys of an earlier start stay in it unless new ones replace them.
 */
export async function writeFirstKeys(dataDir: string, { apiKey, adminKey }: FirstKeys): Promise<string> {
  const path = join(dataDir, FILE);
  const kept = await readKeys(path);
  if (apiKey !== null) kept.set(NAMES.apiKey, apiKey);
  if (adminKey !== null) kept.set(NAMES.adminKey, adminKey);
  await writePrivately(path, render(kept));
  return path;
}

/** Removes keys that a terminal has shown. If none is left, it removes the file. */
export async function dropFirstKeys(dataDir: string, { apiKey, adminKey }: FirstKeys): Promise<void> {
  const path = join(dataDir, FILE);
  const kept = await readKeys(path);
  if (kept.get(NAMES.apiKey) === apiKey) kept.delete(NAMES.apiKey);
  if (kept.get(NAMES.adminKey) === adminKey) kept.delete(NAMES.adminKey);
  if (kept.size > 0) await writePrivately(path, render(kept));
  else await rm(path, { force: true });
}

/** The file with keys that no terminal has shown yet; null: there are none. */
export async function firstKeysFile(dataDir: string): Promise<string | null> {
  const path = join(dataDir, FILE);
  return (await readKeys(path)).size > 0 ? path : null;
}

async function readKeys(path: string): Promise<Map<string, string>> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  return new Map([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]));
}

const render = (keys: ReadonlyMap<string, string>): string =>
  [...keys].map(([name, value]) => `${name}=${value}\n`).join('');

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
