import type { AppConfig } from '../config/config.ts';
import { findDeclared } from '../config/declared.ts';
import { DEFAULT_RESOURCE_ID } from '../contract/scope.ts';
import { nowS, systemClock } from '../core/clock.ts';
import { hintOf, makeKey } from '../deployments/keys.ts';
import type { ResourceStore } from '../stores/state/ports.ts';

/** Keys that were made just now. They cannot be shown later. */
export interface FirstKeys {
  /** Key 1 of the default resource. */
  readonly apiKey: string | null;
  readonly adminKey: string | null;
}

/** It is called before the first keys are in force, because nobody can read them afterwards. */
export type KeepFirstKeys = (keys: FirstKeys) => Promise<void>;

/** Makes the keys without which nobody could use the service. */
export async function makeFirstKeys(
  config: AppConfig,
  deps: {
    readonly resources: ResourceStore;
    readonly digest: (key: string) => string;
    readonly keepFirstKeys: KeepFirstKeys;
  },
): Promise<FirstKeys> {
  const { resources, digest, keepFirstKeys } = deps;
  const needsAdmin = config.adminKey === null && (await resources.adminKeyDigest()) === undefined;
  const takesKeys = !findDeclared(config, DEFAULT_RESOURCE_ID)?.keyAuthDisabled;
  const needsKey = takesKeys && (await resources.keys(DEFAULT_RESOURCE_ID)).length === 0;
  const made = { apiKey: needsKey ? makeKey() : null, adminKey: needsAdmin ? makeKey() : null };
  if (needsKey || needsAdmin) await keepFirstKeys(made);
  const change = { actor: 'configuration', atS: nowS(systemClock) };
  if (made.adminKey !== null) await resources.setAdminKeyDigest(digest(made.adminKey), change);
  if (made.apiKey !== null) {
    const key = { slot: 1, digest: digest(made.apiKey), hint: hintOf(made.apiKey) } as const;
    await resources.putKey(DEFAULT_RESOURCE_ID, key, change);
  }
  return made;
}
