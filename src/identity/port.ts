/** Who calls, and what they may do. */
import type { Action, Role } from '../contract/control.ts';
import type { Scope } from '../contract/scope.ts';

export interface Principal {
  /** The resource that is addressed. On the control plane it may be none: ''. */
  readonly scope: Scope;
  /** Region of the addressed resource. Null: the resource does not exist, or none is addressed. */
  readonly location: string | null;
  /** The name in refusals: a token's `oid` or `sub`, else the actor. */
  readonly id: string;
  /** Whether the action is allowed. `resourceId` null: on every resource, and on the service as a whole. */
  allows(action: Action, resourceId: string | null): boolean;
  /** Whether the action is allowed on one resource at least. A list then asks `allows` for each entry. */
  allowsSome(action: Action): boolean;
}

export type Credential =
  | { readonly kind: 'none' }
  | { readonly kind: 'key'; readonly value: string }
  | { readonly kind: 'token'; readonly value: string };

export interface Address {
  readonly plane: 'data' | 'control';
  /** The addressed resource, which may not exist. '': the control plane addresses none. */
  readonly resourceId: string;
}

export type Authentication =
  | { readonly kind: 'known'; readonly principal: Principal }
  /** The credential is absent, wrong, or of another resource. The caller cannot tell which. */
  | { readonly kind: 'unknown' }
  /** The key is right, but keys are turned off for its resource. */
  | { readonly kind: 'key_auth_disabled' }
  /** The public keys for checking tokens cannot be fetched now. */
  | { readonly kind: 'issuer_unavailable'; readonly retryAfterS: number };

export type Authenticate = (credential: Credential, address: Address) => Promise<Authentication>;

/** Which tokens are accepted: those of one Entra tenant, or of any OIDC issuer. */
export interface TokenConfig {
  /** A tenant of Entra. It brings its issuers and keys, and every token must name it as `tid`. */
  readonly tenant?: string | undefined;
  /** Exact values of `iss`. The default is both issuers of the tenant. */
  readonly issuers?: readonly string[] | undefined;
  /** Accepted values of `aud`. The default is those of Azure. */
  readonly audiences?: readonly string[] | undefined;
  /** Address of the public keys. The default is the tenant's. */
  readonly jwksUri?: string | undefined;
  /** How far the issuer's clock and ours may differ. */
  readonly clockSkewMs: number;
}

/** Gives a role on one resource, or on `*`, to those that a token names by `oid` (else `sub`), `groups` or `roles`. */
export interface RoleAssignment {
  readonly role: Role;
  readonly resource: string;
  readonly oid?: string | undefined;
  readonly group?: string | undefined;
  readonly appRole?: string | undefined;
}

export interface IdentityConfig {
  /** Null: no token is accepted. */
  readonly tokens: TokenConfig | null;
  readonly roleAssignments: readonly RoleAssignment[];
}
