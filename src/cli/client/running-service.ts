import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { defaults } from '../../config/options.ts';
import { hostIn, reaches } from './socket-probe.ts';

/** In the data directory while a service runs over it, so that commands of the same directory find it. */
const FILE = 'service.json';
const Service = z.object({ url: z.url(), pid: z.int().positive() });

const LOOK_MS = 1_000;

export async function announce(dataDir: string, url: string): Promise<void> {
  const own = join(dataDir, `${FILE}.new`);
  await writeFile(own, `${JSON.stringify({ url: reachable(url), pid: process.pid })}\n`, { mode: 0o600 });
  await rename(own, join(dataDir, FILE));
}

export const withdraw = (dataDir: string): Promise<void> => rm(join(dataDir, FILE), { force: true });

/** Address of the service that runs over the data directory of this place; null: none does. */
export async function runningService(env: NodeJS.ProcessEnv): Promise<string | null> {
  const dataDir = env['OFFPEAK_DATA_DIR'] || defaults().dataDir;
  const text = await readFile(join(dataDir, FILE), 'utf8').catch(() => null);
  if (text === null) return null;
  const { data } = Service.safeParse(tryJson(text));
  // A service that was killed leaves the file behind.
  return data && isAlive(data.pid) && (await listens(data.url)) ? data.url : null;
}

/** A service that listens everywhere listens here, too. */
function reachable(text: string): string {
  const url = new URL(text);
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1';
  if (url.hostname === '[::]') url.hostname = '[::1]';
  return url.origin;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function listens(text: string): Promise<boolean> {
  const url = new URL(text);
  const port = Number(url.port || (url.protocol === 'https:' ? 443 : 80));
  return reaches(connect({ host: hostIn(url), port, timeout: LOOK_MS }), 'connect');
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // As if there were none.
  }
}
