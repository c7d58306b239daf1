import { EXIT, type ExitCode } from './exit.ts';

/** Resolves at the first SIGINT or SIGTERM, after `onFirst`. The second one ends the process at once, with `exitCode`. */
export function stopSignal(
  onFirst: (signal: NodeJS.Signals) => void = () => {},
  exitCode: ExitCode = EXIT.failed,
): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false;
    const onSignal = (signal: NodeJS.Signals) => {
      if (asked) process.exit(exitCode);
      asked = true;
      onFirst(signal);
      resolve(signal);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}

/** Aborts `signal` at SIGINT or SIGTERM. The work then removes what it has begun, and ends. */
export function stopAsked(): { readonly signal: AbortSignal; forget(): void } {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  return {
    signal: controller.signal,
    forget() {
      process.off('SIGINT', stop).off('SIGTERM', stop);
    },
  };
}
