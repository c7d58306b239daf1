/** Where the router finds the control plane. `/subscriptions/…/providers/Microsoft.CognitiveServices/…` is rewritten to these. */
export const CONTROL = '/control';
export const SUBSCRIPTION = `${CONTROL}/subscriptions/:subscription`;
export const ACCOUNTS = `${SUBSCRIPTION}/resourceGroups/:group/accounts`;
export const ACCOUNT = `${ACCOUNTS}/:account`;
export const DEPLOYMENTS = `${ACCOUNT}/deployments`;
export const DEPLOYMENT = `${DEPLOYMENTS}/:deployment`;
