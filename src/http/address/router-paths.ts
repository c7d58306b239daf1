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
