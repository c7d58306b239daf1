import type { DeploymentRow, Resource } from '../../contract/control.ts';
import type { StateStore } from '../../stores/state/ports.ts';

/** The deployments in one location of these resources: all that can share its quotas, when they are of one subscription. */
export async function deploymentsAt(
  location: string,
  resources: readonly Resource[],
  { deployments }: Pick<StateStore, 'deployments'>,
): Promise<DeploymentRow[]> {
  const there = resources.filter((resource) => resource.location === location);
  const rows = there.map(({ id }) => deployments.list({ resourceId: id, actor: 'control plane' }));
  return (await Promise.all(rows)).flat();
}
