/** What commands of the control plane mean when they do not say; the same as the service's own defaults. */
export const DEFAULT_SUBSCRIPTION = '00000000-0000-0000-0000-000000000000';
export const DEFAULT_RESOURCE_GROUP = 'offpeak';
