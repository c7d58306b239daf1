import { findDeclared } from '../../config/declared.ts';
import type { ResourceKey } from '../../contract/control.ts';
import { ApiError } from '../../contract/error.ts';
import { nowS } from '../../core/clock.ts';
import { hintOf, KEY_SLOTS, makeKey } from '../keys.ts';
import type { ControlPlaneDeps } from './deps.ts';
import type { ControlPlane, KeyShown } from './port.ts';

export function keysOf(deps: ControlPlaneDeps): Pick<ControlPlane, 'listKeys' | 'regenerateKey'> {
  const { store, exclusive } = deps;
  return {
    listKeys: (actor, resourceId) =>
      exclusive(async () => {
        await refuseUnknown(resourceId, deps);
        const known = await store.resources.keys(resourceId);
        const missing = KEY_SLOTS.filter(
          (slot) => !isDeclared({ resourceId, slot }, deps) && !known.some((key) => key.slot === slot),
        );
        const made: KeyShown[] = [];
        for (const slot of missing) made.push(await setKey({ actor, resourceId, slot }, deps));
        return inOrder([...known.map(hidden), ...made]);
      }),

    regenerateKey: (actor, resourceId, slot) =>
      exclusive(async () => {
        await refuseUnknown(resourceId, deps);
        refuseDeclared({ resourceId, slot }, deps);
        const made = await setKey({ actor, resourceId, slot }, deps);
        const others = (await store.resources.keys(resourceId)).filter((key) => key.slot !== slot);
        return inOrder([...others.map(hidden), made]);
      }),
  };
}

async function refuseUnknown(resourceId: string, { store }: ControlPlaneDeps): Promise<void> {
  if (await store.resources.get(resourceId)) return;
  throw new ApiError('resourceNotFound', `The resource '${resourceId.slice(0, 100)}' does not exist.`);
}

interface Slot {
  readonly resourceId: string;
  readonly slot: 1 | 2;
}

/** A list of keys in the configuration is whole: what it does not name is revoked when it is applied. */
function isDeclared({ resourceId, slot }: Slot, { declared }: ControlPlaneDeps): boolean {
  const found = findDeclared(declared(), resourceId);
  return found !== undefined && (!found.sharesKeys || found.keys[slot - 1] !== undefined);
}

function refuseDeclared(key: Slot, deps: ControlPlaneDeps): void {
  if (!isDeclared(key, deps)) return;
  const { resourceId } = key;
  const source = findDeclared(deps.declared(), resourceId)?.source;
  throw new ApiError(
    'ownedByConfiguration',
    `The keys of the resource '${resourceId}' are given in the configuration (${source}) and cannot be regenerated here. Change them there and reload.`,
  );
}

async function setKey(
  { actor, resourceId, slot }: Slot & { readonly actor: string },
  { store, digest, clock }: ControlPlaneDeps,
): Promise<KeyShown> {
  const value = makeKey();
  const hint = hintOf(value);
  await store.resources.putKey(
    resourceId,
    { slot, digest: digest(value), hint },
    { actor, atS: nowS(clock) },
  );
  return { slot, value, hint };
}

const hidden = ({ slot, hint }: ResourceKey): KeyShown => ({ slot, value: null, hint });

const inOrder = (keys: readonly KeyShown[]): KeyShown[] => keys.toSorted((a, b) => a.slot - b.slot);
