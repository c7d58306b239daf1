import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { EXIT } from './cli/process/exit.ts';
import { main } from './cli/program/program.ts';
import { useProxies } from './cli/client/proxies.ts';
import { reasonOf } from './cli/process/system-error.ts';
import { ProxyError } from './core/proxy.ts';

// The heaps of threads, which start after this. The launcher sets the heap of the main thread, which makes most garbage.
setFlagsFromString('--min-semi-space-size=2');
setFlagsFromString('--max-semi-space-size=4');

// `offpeak … | head` closes the pipe early, and that is no failure. A command that writes a file there listens itself.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (process.stdout.listenerCount('error') > 1) return;
  if (error.code === 'EPIPE') process.exit();
  process.stderr.write(`offpeak: standard output cannot be written: ${reasonOf(error)}.\n`);
  process.exit(EXIT.failed);
});

const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const version =
  typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '';

// A message that cannot be written must not change what the command does.
process.stderr.on('error', () => {});

try {
  useProxies(process.env);
  process.exitCode = await main(process.argv.slice(2), { version });
} catch (error) {
  if (!(error instanceof ProxyError)) throw error;
  process.stderr.write(`offpeak: ${error.message}\n`);
  process.exitCode = EXIT.usage;
}
// Nothing should be left to do. Something that hangs must not keep the process.
setTimeout(() => process.exit(), 2_000).unref();
