/** Accounts and deployments by their path, or ARM's error for what is absent. */
import type { z } from 'zod';
import { ApiError } from '../../contract/error.ts';
import type { Resource } from '../../contract/control.ts';
import type { ControlPlane, DeploymentView } from '../../deployments/control/port.ts';
import type { Scope } from '../../contract/scope.ts';
import type { ByAccount } from './bodies.ts';
import { PROVIDER } from './words.ts';

export type AccountPath = z.output<typeof ByAccount>;

/** An account in another group or subscription than the path says counts as absent. */
export async function lookUpAccount(
  controlPlane: Pick<ControlPlane, 'getResource'>,
  path: AccountPath,
): Promise<Resource | undefined> {
  const resource = await controlPlane.getResource(path.account.toLowerCase());
  if (resource === undefined) return undefined;
  const isThere =
    same(resource.subscriptionId, path.subscription) && same(resource.resourceGroup, path.group);
  return isThere ? resource : undefined;
}

export async function findAccount(
  controlPlane: Pick<ControlPlane, 'getResource'>,
  path: AccountPath,
): Promise<Resource> {
  const resource = await lookUpAccount(controlPlane, path);
  if (resource !== undefined) return resource;
  throw new ApiError(
    'resourceNotFound',
    `The Resource '${PROVIDER}/accounts/${path.account}' under resource group '${path.group}' was not found.`,
  );
}

export async function findDeployment(
  controlPlane: Pick<ControlPlane, 'getDeployment'>,
  scope: Scope,
  name: string,
): Promise<DeploymentView> {
  const deployment = await controlPlane.getDeployment(scope, name);
  if (deployment !== undefined) return deployment;
  throw new ApiError(
    'resourceNotFound',
    `The Resource '${PROVIDER}/accounts/${scope.resourceId}/deployments/${name}' was not found.`,
  );
}

/** Returns a subscription as its resources spell it, since quotas are counted by that. */
export async function findSubscription(
  controlPlane: Pick<ControlPlane, 'listResources'>,
  subscription: string,
): Promise<string> {
  const resources = await controlPlane.listResources({});
  const known = resources.find(({ subscriptionId }) => same(subscriptionId, subscription));
  return known?.subscriptionId ?? subscription.toLowerCase();
}

/** ARM compares names without regard to case. */
export const same = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase();
