import { ConfigError } from '../config/fault.ts';
import type { OptionValues } from '../config/options.ts';
import { BehaviourError, readBehaviour, type Behaviour } from '../upstream/simulator/behaviour.ts';
import type { Script } from '../upstream/simulator/script.ts';
import { createScript } from '../upstream/simulator/simulator.ts';

type SimulatorValues = Pick<OptionValues, Extract<keyof OptionValues, `simulator${string}`>>;

/** The simulator as the `--simulator-…` options set it up. */
export const simulatorOptions = (options: SimulatorValues) => ({
  latencyMs: options.simulatorLatencyMs,
  tokensPerSecond: options.simulatorTokensPerSecond,
  errorRate: options.simulatorErrorRate,
  requestsPerMinute: options.simulatorRequestsPerMinute,
  tokensPerMinute: options.simulatorTokensPerMinute,
  seed: options.simulatorSeed,
});

/** Returns null when no file is given. A faulty file is a fault of the configuration. */
export async function readSimulatorBehaviour({
  simulatorBehaviour: path,
}: Pick<SimulatorValues, 'simulatorBehaviour'>): Promise<Behaviour | null> {
  if (path === null) return null;
  try {
    return await readBehaviour(path);
  } catch (error) {
    const faults = error instanceof BehaviourError ? error.faults : [`it cannot be read: ${String(error)}`];
    throw new ConfigError(faults.map((message) => ({ source: path, message })));
  }
}

export const scriptOf = (
  behaviour: Behaviour | null,
  { simulatorSeed: seed }: Pick<SimulatorValues, 'simulatorSeed'>,
): Script | null => behaviour && createScript(behaviour, { seed });
