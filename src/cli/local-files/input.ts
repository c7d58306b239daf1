import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { CliError, EXIT } from '../process/exit.ts';
import { stopAsked } from '../process/signals.ts';
import { reasonOf } from '../process/system-error.ts';
import { note } from '../terminal/print.ts';
import { identityOf } from './target.ts';

/** A file that a command can read several times. */
export interface Input {
  /** The path of a regular file with the content. */
  readonly path: string;
  /** The name in messages. */
  readonly name: string;
  /** The name that an upload sends. */
  readonly filename: string;
  /** The identity of the file that the user named; null: the input is not a file. */
  readonly id: string | null;
  readonly isStdin: boolean;
}

/** `-` is standard input. It and pipes can be read only once, so their content is kept in a file until `use` has ended. */
export async function withInput<T>(path: string, use: (input: Input) => Promise<T>): Promise<T> {
  if (path !== '-') {
    const found = await stat(path).catch((error: unknown) => {
      throw unreadable(path, error);
    });
    if (found.isDirectory()) throw new CliError(`${path} cannot be read: it is a directory.`, EXIT.usage);
    if (found.isFile()) {
      const filename = basename(path);
      return use({ path, name: path, filename, id: identityOf(found), isStdin: false });
    }
  }
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-input-'));
  try {
    const copy = join(dir, 'input.jsonl');
    const isStdin = path === '-';
    if (isStdin && process.stdin.isTTY) note('Reading standard input; Ctrl-D ends it.');
    const source = isStdin ? process.stdin : createReadStream(path);
    const stop = stopAsked();
    try {
      await pipeline(source, createWriteStream(copy, { mode: 0o600 }), { signal: stop.signal });
    } catch (error) {
      if (stop.signal.aborted) throw new CliError('stopped; nothing was sent.', EXIT.interrupted);
      throw unreadable(isStdin ? 'standard input' : path, error);
    } finally {
      stop.forget();
    }
    const name = isStdin ? '<stdin>' : path;
    return await use({
      path: copy,
      name,
      filename: isStdin ? 'stdin.jsonl' : 'input.jsonl',
      id: null,
      isStdin,
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

export const unreadable = (name: string, error: unknown): CliError =>
  new CliError(`${name} cannot be read: ${reasonOf(error)}.`, EXIT.usage, { cause: error });
