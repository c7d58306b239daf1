import { randomBytes } from 'node:crypto';
import type { ResourceKey } from '../contract/control.ts';
import { ApiError } from '../contract/error.ts';
import { nowS } from '../core/clock.ts';
import type { ControlPlaneDeps } from './control-plane.ts';
import type { ControlPlane, KeyShown } from './control.ts';
import { findDeclared } from './declared.ts';

/** 256 bits, in letters that every header and shell takes. */
export const makeKey = (): string => randomBytes(32).toString('hex');

/** As much of a key as is kept, beside its digest. */
export const hintOf = (key: string): string => key.slice(-4);

const SLOTS = [1, 2] as const;

export function keysOf(deps: ControlPlaneDeps): Pick<ControlPlane, 'listKeys' | 'regenerateKey'> {
  const { store, exclusive } = deps;
  return {
    listKeys: (actor, resourceId) =>
      exclusive(async () => {
        await refuseUnknown(resourceId, deps);
        const known = await store.resources.keys(resourceId);
        const missing = SLOTS.filter((slot) => !known.some((key) => key.slot === slot));
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

/** The next start would bring the declared one back. */
function refuseDeclared(
  { resourceId, slot }: { readonly resourceId: string; readonly slot: 1 | 2 },
  { declared }: ControlPlaneDeps,
): void {
  const found = findDeclared(declared(), resourceId);
  if (found?.keys?.[slot - 1] === undefined) return;
  throw new ApiError(
    'ownedByConfiguration',
    `Key ${slot} of the resource '${resourceId}' is given in the configuration (${found.path}) and cannot be regenerated here. Change it there and reload.`,
  );
}

async function setKey(
  { actor, resourceId, slot }: { readonly actor: string; readonly resourceId: string; readonly slot: 1 | 2 },
  { store, makeKey, digest, clock }: ControlPlaneDeps,
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
