import { ConfigError } from '../config/fault.ts';
import { BehaviourError, readBehaviour } from '../upstream/simulator/behaviour.ts';
import type { Behaviour } from '../upstream/simulator/behaviour.ts';
import type { Script } from '../upstream/simulator/script.ts';
import { createScript } from '../upstream/simulator/simulator.ts';

interface BehaviourPath {
  readonly simulatorBehaviour: string | null;
}

/** Null: none is given. A faulty one is a fault of the configuration. */
export async function behaviourOf({ simulatorBehaviour: path }: BehaviourPath): Promise<Behaviour | null> {
  if (path === null) return null;
  try {
    return await readBehaviour(path);
  } catch (error) {
    const faults = error instanceof BehaviourError ? error.faults : [`it cannot be read: ${String(error)}`];
    throw new ConfigError(faults.map((message) => ({ source: path, message })));
  }
}

export async function scriptOf(
  config: BehaviourPath & { readonly simulatorSeed: number },
): Promise<Script | null> {
  const behaviour = await behaviourOf(config);
  return behaviour && createScript(behaviour, { seed: config.simulatorSeed });
}
