import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { defaults } from '../../config/options.ts';
import { tryJson } from '../process/try-json.ts';
import { hostIn, reaches } from './socket-probe.ts';

/** This file is in the data directory while a service runs over it. Commands in the same place find the service by it. */
const FILE = 'service.json';
const Service = z.object({ url: z.url(), pid: z.int().positive() });

const PROBE_MS = 1_000;

export async function announce(dataDir: string, url: string): Promise<void> {
  const own = join(dataDir, `${FILE}.new`);
  await writeFile(own, `${JSON.stringify({ url: reachable(url), pid: process.pid })}\n`, { mode: 0o600 });
  await rename(own, join(dataDir, FILE));
}

export const withdraw = (dataDir: string): Promise<void> => rm(join(dataDir, FILE), { force: true });

/** Address of the service that runs over the data directory here; null: there is none. */
export async function runningService(env: NodeJS.ProcessEnv): Promise<string | null> {
  const dataDir = env['OFFPEAK_DATA_DIR'] || defaults().dataDir;
  const text = await readFile(join(dataDir, FILE), 'utf8').catch(() => null);
  if (text === null) return null;
  const { data } = Service.safeParse(tryJson(text));
  // A service that was killed leaves the file behind.
  return data && isAlive(data.pid) && (await listens(data.url)) ? data.url : null;
}

/** A service that listens on every address listens on the local one. */
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
  return reaches(connect({ host: hostIn(url), port, timeout: PROBE_MS }), 'connect');
}
