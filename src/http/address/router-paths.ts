/**
 * Where the router finds the routes of each plane. `/openai/…`, `/v1/…` and
 * `/subscriptions/…/providers/Microsoft.CognitiveServices/…` are rewritten to these. Invariant: their first words are
 * `RESERVED_NAMES`. Otherwise a resource of such a name could not be told from a route.
 */
export const DATA_PLANE = '/wire';
export const CONTROL_PLANE = '/control';
export const SUBSCRIPTION = `${CONTROL_PLANE}/subscriptions/:subscription`;
export const ACCOUNTS = `${SUBSCRIPTION}/resourceGroups/:group/accounts`;
export const ACCOUNT = `${ACCOUNTS}/:account`;
export const DEPLOYMENTS = `${ACCOUNT}/deployments`;
export const DEPLOYMENT = `${DEPLOYMENTS}/:deployment`;

/**
 * The routes of `http/public` are the root of the address and what lies under these; any other path leads nowhere. A new one
 * belongs here, in `RESERVED_NAMES` and in `http/public/operations.ts`.
 */
export const PUBLIC_ROOTS = ['/healthz', '/openapi.json', '/docs'] as const;
type PublicRoot = (typeof PUBLIC_ROOTS)[number];
export type PublicPath = '/' | PublicRoot | `${PublicRoot}/${string}`;
