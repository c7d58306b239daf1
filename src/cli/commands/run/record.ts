import { link, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { syncDirectory } from '../../local-files/target.ts';
import { CliError, EXIT } from '../../process/exit.ts';
import { codeOf, reasonOf } from '../../process/system-error.ts';

const Counts = z.object({ total: z.number(), completed: z.number(), failed: z.number() });

/** How a run ended. */
const Outcome = z.object({
  request_counts: Counts,
  usage: z.object({ input_tokens: z.number(), output_tokens: z.number() }),
  retries: z.number(),
  /** Requests that may have been sent again after a stop. */
  resent_requests: z.number(),
  simulated: z.boolean(),
  /** Null: the output went into a pipe or a device. */
  output_bytes: z.number().nullable(),
  seconds: z.number(),
});
export type Outcome = z.output<typeof Outcome>;

/** What a run sends, and to which upstream. */
const Sent = z.object({ input_sha256: z.string(), model: z.string(), upstream: z.string() });
export type Sent = z.output<typeof Sent>;

/**
 * The content of `run.json` in the directory beside the output. While the run is unfinished, it binds the directory to one
 * input, model and upstream. Afterwards it says how the run ended, so that nothing is sent again.
 */
const RunRecord = z.object({
  sent: Sent,
  /** Null: the run is unfinished. */
  finished: Outcome.nullable(),
  /** The requests that failed are being sent again. */
  retrying: z.boolean(),
});
export type RunRecord = z.output<typeof RunRecord>;

const FILE = 'run.json';

/** Reads the record; undefined: there is no run. */
export async function readRecord(stateDir: string): Promise<RunRecord | undefined> {
  try {
    return RunRecord.parse(JSON.parse(await readFile(join(stateDir, FILE), 'utf8')));
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw damaged(stateDir, error);
  }
  const names = await readdir(stateDir).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw damaged(stateDir, error);
  });
  if (names.some((name) => !name.startsWith(`${FILE}.`))) throw damaged(stateDir);
  return undefined;
}

const damaged = (stateDir: string, error?: unknown): CliError =>
  new CliError(
    `${stateDir} holds no run that can be read${error === undefined ? '' : ` (${reasonOf(error)})`}. ` +
      'Name another output with -o, or give up what is there with --force.',
    EXIT.usage,
    { cause: error },
  );

/** If two commands start at once, only one creates its record. Returns the record that is there. */
export async function createRecord(stateDir: string, record: RunRecord): Promise<RunRecord> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const own = await writeOwn(stateDir, record);
  try {
    // A link appears with the whole content, and only one command can make it.
    await link(own, join(stateDir, FILE));
    return record;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    return (await readRecord(stateDir)) ?? record;
  } finally {
    await rm(own, { force: true });
  }
}

/** The record is durable when this resolves. */
export async function replaceRecord(stateDir: string, record: RunRecord): Promise<void> {
  await rename(await writeOwn(stateDir, record), join(stateDir, FILE));
  await syncDirectory(stateDir);
  await syncDirectory(dirname(stateDir));
}

async function writeOwn(stateDir: string, record: RunRecord): Promise<string> {
  const path = join(stateDir, `${FILE}.${process.pid}`);
  const handle = await open(path, 'w', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(record)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return path;
}
