import { expect, test } from 'vitest';
import type { Scope } from '../contract/scope.ts';
import { DEFAULT_RESOURCE_ID } from '../contract/scope.ts';
import { createSimulator } from '../upstream/simulator/simulator.ts';
import { createConfiguredDeployments } from './configured.ts';
import type { Deployment } from './port.ts';

const own: Scope = { resourceId: DEFAULT_RESOURCE_ID, actor: 'cli' };
const foreign: Scope = { resourceId: 'other', actor: 'key:1' };

const deployment = (name: string, change: Partial<Deployment> = {}): Deployment => ({
  name,
  model: 'gpt-4o',
  version: null,
  sku: 'GlobalBatch',
  unusable: null,
  takesImages: true,
  sharedTokensMax: null,
  whenFull: 'fail',
  enqueuedTokensMax: 1_000_000,
  concurrencyMax: 8,
  upstreams: [createSimulator()],
  ...change,
});

test('a deployment is found by its exact name', async () => {
  const first = deployment('first');
  const deployments = createConfiguredDeployments([first, deployment('second')]);

  expect(await deployments.find(own, 'first')).toBe(first);
  expect(await deployments.find(own, 'First')).toBeUndefined();
  expect(await deployments.find(own, '__proto__')).toBeUndefined();
  expect((await deployments.list(own)).map(({ name }) => name)).toEqual(['first', 'second']);
});

test('another resource sees none of them', async () => {
  const deployments = createConfiguredDeployments([deployment('first')]);

  expect(await deployments.find(foreign, 'first')).toBeUndefined();
  expect(await deployments.list(foreign)).toEqual([]);
});

test('a caller cannot change the list', async () => {
  const deployments = createConfiguredDeployments([deployment('first')]);

  (await deployments.list(own)).pop();

  expect(await deployments.list(own)).toHaveLength(1);
});

test.each([
  ['two of one name', 'the same name', [deployment('a'), deployment('a')]],
  ['one without an upstream', 'no upstream', [deployment('a', { upstreams: [] })]],
  ['one that may send nothing', 'a limit below 1', [deployment('a', { concurrencyMax: 0 })]],
])('%s is a broken invariant', (_what, message, list) => {
  expect(() => createConfiguredDeployments(list)).toThrow(message);
});
