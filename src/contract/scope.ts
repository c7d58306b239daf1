/**
 * Whose data a call may touch. Made by authentication, taken first by every store call on a tenant's data:
 * what belongs to another resource is indistinguishable from what does not exist.
 */
export interface Scope {
  readonly resourceId: string;
  /** Who acts, for the audit trail: `key:<n>`, a principal's object id, or `cli`. */
  readonly actor: string;
}

/** The one resource that exists until the control plane makes more. */
export const DEFAULT_RESOURCE_ID = 'default';
