import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const MEMORY = '/dev/shm';
const NAME = 'offpeak-tests-';
const BYTES_MIN = 4 * 1024 ** 3;

/** What makes a test run fast, and changes nothing that a test can see. */
export default function setup(): (() => void) | undefined {
  // Threads and processes of the tests compile the same sources over and over.
  process.env['NODE_COMPILE_CACHE'] ??= join(
    import.meta.dirname,
    '../../node_modules/.cache/offpeak-compiled',
  );
  for (const name of leftovers()) rmSync(join(MEMORY, name), { recursive: true, force: true });
  const dir = memoryDir();
  if (dir === undefined) return undefined;
  process.env['TMPDIR'] = dir;
  return () => rmSync(dir, { recursive: true, force: true });
}

/**
 * A directory in memory for what the tests write, where the machine has one that is large enough. Tests of stores wait mostly
 * for fsync, and no test cuts the power of this machine.
 */
function memoryDir(): string | undefined {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    if (bavail * bsize < BYTES_MIN) return undefined;
    const dir = mkdtempSync(join(MEMORY, `${NAME}${process.pid}-`));
    // PostgreSQL runs as another user, in a directory of its own below.
    chmodSync(dir, 0o711);
    if (mayExecute(dir)) return dir;
    rmSync(dir, { recursive: true });
  } catch {
    // The disk will do.
  }
  return undefined;
}

/** Containers often forbid it, and some tests start programs that they made. */
function mayExecute(dir: string): boolean {
  const program = join(dir, 'probe');
  writeFileSync(program, '#!/bin/sh\n', { mode: 0o700 });
  return spawnSync(program).status === 0;
}

/** Directories of runs that were killed: their memory must not stay taken. */
function leftovers(): string[] {
  try {
    return readdirSync(MEMORY).filter((name) => name.startsWith(NAME) && !isAlive(Number(/\d+/.exec(name))));
  } catch {
    return [];
  }
}

/** A process of another user counts as alive: its directory is not ours to remove. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}
