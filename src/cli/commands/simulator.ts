import { once } from 'node:events';
import { readSimulatorBehaviour, scriptOf, simulatorOptions } from '../../app/simulator.ts';
import { createSimulatorServer } from '../../upstream/simulator/server.ts';
import { configure, type TableFlags } from '../process/configure.ts';
import { CliError, EXIT, type ExitCode } from '../process/exit.ts';
import { stopSignal } from '../process/signals.ts';
import { reasonOf } from '../process/system-error.ts';
import { print, printJson } from '../terminal/print.ts';

/** Runs the simulated model server alone, for tests of pipelines. */
export async function simulator(
  table: TableFlags,
  { host, port, json }: { readonly host: string; readonly port: number; readonly json?: boolean },
): Promise<ExitCode> {
  const { values } = await configure('simulator', table);
  const stopping = new AbortController();
  const options = {
    ...simulatorOptions(values),
    script: scriptOf(await readSimulatorBehaviour(values), values),
  };
  const server = createSimulatorServer(options, stopping.signal);
  const stopped = stopSignal();
  server.listen(port, host);
  await once(server, 'listening').catch((error: unknown) => {
    throw new CliError(`cannot listen on ${host}:${port}: ${reasonOf(error)}.`, EXIT.failed, {
      cause: error,
    });
  });
  const address = server.address();
  const bound = typeof address === 'object' && address ? address.port : port;
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${bound}/v1`;
  if (json) printJson({ url, pid: process.pid });
  else print(`The simulator answers at ${url}`);
  await stopped;
  stopping.abort();
  server.close();
  server.closeAllConnections();
  return EXIT.ok;
}
