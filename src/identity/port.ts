/** Who calls, and what they may do. */
import type { Action, Role } from '../contract/control.ts';
import type { Scope } from '../contract/scope.ts';

export interface Principal {
  /** On the data plane the addressed resource; on the control plane the one of the route, or none: ''. */
  readonly scope: Scope;
  /** Region of the addressed resource. Null: no such resource exists, or none is addressed. */
  readonly location: string | null;
  /** As refusals name it: a token's `oid` or `sub`, else the actor. */
  readonly id: string;
  /** `null`: on every resource and the service as a whole. */
  allows(action: Action, resourceId: string | null): boolean;
  /** On one resource at least: for lists of what the caller may see, each entry asked for with `allows`. */
  allowsSome(action: Action): boolean;
}

export type Credential =
  | { readonly kind: 'none' }
  | { readonly kind: 'key'; readonly value: string }
  | { readonly kind: 'token'; readonly value: string };

export interface Address {
  readonly plane: 'data' | 'control';
  /** '' where the control plane addresses none. It may not exist. */
  readonly resourceId: string;
}

export type Authentication =
  | { readonly kind: 'known'; readonly principal: Principal }
  /** No credential, a wrong one, or one of another resource: all the same. */
  | { readonly kind: 'unknown' }
  /** The key is right, and keys are turned off for its resource. */
  | { readonly kind: 'key_auth_disabled' }
  /** The keys that tokens are checked with cannot be had just now. */
  | { readonly kind: 'issuer_unavailable'; readonly retryAfterS: number };

export type Authenticate = (credential: Credential, address: Address) => Promise<Authentication>;

/** Which tokens are good: of one Entra tenant, or of any OIDC issuer. */
export interface TokenConfig {
  /** Entra's: brings its issuers and keys, and every token must name it as `tid`. */
  readonly tenant?: string | undefined;
  /** `iss`, exactly. Default: both issuers of the tenant. */
  readonly issuers?: readonly string[] | undefined;
  /** `aud`. Default: those of Azure. */
  readonly audiences?: readonly string[] | undefined;
  /** Where the public keys are. Default: the tenant's. */
  readonly jwksUri?: string | undefined;
  /** Between the issuer's clock and ours. */
  readonly clockSkewMs?: number | undefined;
}

/** Gives a role on one resource, or on `*`, to who the token names: by `oid` (else `sub`), `groups` or `roles`. */
export interface RoleAssignment {
  readonly role: Role;
  readonly resource: string;
  readonly oid?: string | undefined;
  readonly group?: string | undefined;
  readonly appRole?: string | undefined;
}

export interface IdentityConfig {
  /** Null: no token opens anything. */
  readonly tokens: TokenConfig | null;
  readonly roleAssignments: readonly RoleAssignment[];
}
