import { note } from './terminal.ts';

/** Resolves at the first SIGINT or SIGTERM; the second ends the process at once. */
export function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals) => {
      if (asked) process.exit(1);
      asked = true;
      resolve(signal);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}

/** The stores can no longer keep a promise. Nothing is tidied up: the next start goes on from what is durable. */
export function die(error: unknown): never {
  note(`offpeak: ends at once, to lose nothing: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
