import type { Deployment } from '../../src/deployments/port.ts';

/** A deployment as the engine finds it. Nothing serves it. */
export const deploymentFor = (given: Partial<Deployment> = {}): Deployment => ({
  name: 'd',
  model: 'm',
  version: null,
  sku: 'GlobalBatch',
  unusable: null,
  takesImages: true,
  enqueuedTokensMax: 1_000_000,
  sharedTokensMax: null,
  whenFull: 'fail',
  upstreams: [],
  concurrencyMax: 4,
  ...given,
});
