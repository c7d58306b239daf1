import type { Batch } from '../contract/batch.ts';

/** A deployment among those of all resources. */
export type DeploymentKey = `${string}/${string}`;

export const deploymentKey = ({
  resourceId,
  deployment,
}: Pick<Batch, 'resourceId' | 'deployment'>): DeploymentKey => `${resourceId}/${deployment}`;
