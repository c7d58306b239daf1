/** Finds out who a caller is, by the credential and the address that it is sent to. */
import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';
import type { ResourceStore } from '../stores/state/ports.ts';
import { createKeys, type Keys } from './keys.ts';
import type { Address, Authenticate, Authentication, IdentityConfig, Principal } from './port.ts';
import { permissionsOf, permissionsOfAdmin, permissionsOfKey } from './roles.ts';
import { createTokenVerifier, type VerifyToken } from './tokens.ts';

export interface Identity {
  readonly authenticate: Authenticate;
  /** Whoever changes resources and keys uses this store, so that a change counts at once. */
  readonly resources: ResourceStore;
  /** Applies another configuration. The keys of an issuer that stays are kept. */
  replace(config: IdentityConfig): void;
}

interface Deps {
  readonly resources: ResourceStore;
  readonly pepper: string | Uint8Array;
  readonly clock: Clock;
  readonly log: Log;
}

export function createIdentity(deps: Deps, initial: IdentityConfig): Identity {
  const keys = createKeys(deps);
  let config = initial;
  let verify = verifierOf(config, deps);

  return {
    resources: keys.resources,
    replace(next) {
      if (JSON.stringify(next.tokens) !== JSON.stringify(config.tokens)) verify = verifierOf(next, deps);
      config = next;
    },
    async authenticate(credential, address) {
      if (credential.kind === 'none') return UNKNOWN;
      if (credential.kind === 'key') return authenticateKey(keys, credential.value, address);
      const verdict = await verify(credential.value);
      if (verdict.kind === 'unavailable')
        return { kind: 'issuer_unavailable', retryAfterS: verdict.retryAfterS };
      if (verdict.kind === 'bad') {
        deps.log.event('token.refused', { reason: verdict.why });
        return UNKNOWN;
      }
      const { subject } = verdict;
      const { location } = (await keys.resource(address.resourceId)) ?? { location: null };
      const permissions = permissionsOf(subject, config.roleAssignments);
      return known({ address, location, actor: subject.id, permissions });
    },
  };
}

const UNKNOWN: Authentication = { kind: 'unknown' };

const verifierOf = ({ tokens }: IdentityConfig, deps: Deps): VerifyToken =>
  tokens === null
    ? async () => ({ kind: 'bad', why: 'no issuer is configured' })
    : createTokenVerifier(tokens, deps);

async function authenticateKey(keys: Keys, key: string, address: Address): Promise<Authentication> {
  if (address.plane === 'control') {
    if (!(await keys.isAdminKey(key))) return UNKNOWN;
    const permissions = permissionsOfAdmin;
    return known({ address, location: null, actor: 'admin-key', permissions });
  }
  const owner = await keys.find(key);
  if (owner === undefined || owner.resource.id !== address.resourceId) return UNKNOWN;
  const { resource, slot } = owner;
  if (resource.keyAuthDisabled) return { kind: 'key_auth_disabled' };
  const permissions = permissionsOfKey(resource.id);
  return known({ address, location: resource.location, actor: `key:${slot}`, permissions });
}

function known(given: {
  readonly address: Address;
  readonly location: string | null;
  readonly actor: string;
  readonly permissions: Pick<Principal, 'allows' | 'allowsSome'>;
}): Authentication {
  const { address, location, actor, permissions } = given;
  const scope = { resourceId: address.resourceId, actor };
  return { kind: 'known', principal: { scope, location, id: actor, ...permissions } };
}
