/**
 * Whose data a call may touch. Authentication makes it, and every store call on a tenant's data takes it first. Invariant:
 * what belongs to another resource looks as if it did not exist. Otherwise a caller could learn what others have.
 */
export interface Scope {
  readonly resourceId: string;
  /** Who acts, for the audit trail: `key:<n>`, a principal's object id, or `cli`. */
  readonly actor: string;
}

/** The one resource that exists until the control plane makes more. */
export const DEFAULT_RESOURCE_ID = 'default';
