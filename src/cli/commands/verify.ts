import { type DamagedFile, type Verification, verify } from '../../app/verify.ts';
import { configure, type TableFlags } from '../process/configure.ts';
import { EXIT, type ExitCode } from '../process/exit.ts';
import { toCliError } from '../process/store-error.ts';
import { byteSize, grouped, oneLine, print, printJson, printTable, say } from '../terminal/print.ts';
import { createProgressView } from '../terminal/progress.ts';

export async function verifyInstallation(table: TableFlags, { json }: { json?: boolean }): Promise<ExitCode> {
  const { config } = await configure('verify', table);
  const view = createProgressView();
  let found: Verification;
  try {
    found = await verify(config, ({ files, checked, damaged }) =>
      view.show({
        status: 'verifying',
        total: files,
        completed: checked - damaged,
        failed: damaged,
        requestsPerSecond: null,
        etaS: null,
        waiting: null,
      }),
    );
  } catch (error) {
    throw toCliError(error);
  } finally {
    view.end();
  }
  const isWhole = found.faults.length + found.damaged.length + found.strays.length === 0;
  if (json) printJson(toJson(found, isWhole));
  else report(found, isWhole);
  return isWhole ? EXIT.ok : EXIT.failed;
}

function report(found: Verification, isWhole: boolean): void {
  const { files, bytes, dataDir, database } = found;
  for (const fault of found.faults) say(fault);
  if (found.damaged.length > 0) {
    say(`${grouped(found.damaged.length)} of ${grouped(files)} files are damaged:`);
    printTable(['file', 'what', 'name', 'resource', 'why'], found.damaged.map(row));
  }
  list('Blobs that the database does not name; the service sets them aside:', found.strays);
  list('Set aside before, to be removed after 7 days:', found.setAside);
  list('Not made by the service, and left alone:', found.foreign);
  const what = `${grouped(files)} files, ${byteSize(bytes)}, in ${dataDir} with ${database}`;
  say(isWhole ? `All is whole: ${what}.` : `Checked ${what}. docs/operations.md says how to restore.`);
}

const row = ({ id, kind, filename, resource, reason }: DamagedFile): string[] => [
  id,
  kind,
  oneLine(filename ?? '(a part, or deleted)'),
  oneLine(resource ?? ''),
  oneLine(reason),
];

/** Paths stay whole, so that users can copy them. */
function list(heading: string, paths: readonly string[]): void {
  if (paths.length === 0) return;
  say(heading);
  for (const path of paths) print(`  ${oneLine(path)}`);
}

const toJson = (found: Verification, isWhole: boolean) => ({
  whole: isWhole,
  data_dir: found.dataDir,
  database: found.database,
  faults: found.faults,
  files: found.files,
  bytes: found.bytes,
  damaged: found.damaged,
  strays: found.strays,
  set_aside: found.setAside,
  foreign: found.foreign,
});
