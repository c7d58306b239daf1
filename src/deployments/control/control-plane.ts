import { deploymentsOf } from './deployments.ts';
import type { ControlPlaneDeps } from './deps.ts';
import { keysOf } from './keys.ts';
import type { ControlPlane } from './port.ts';
import { resourcesOf } from './resources.ts';
import { usagesOf } from './usages.ts';

export const createControlPlane = (deps: ControlPlaneDeps): ControlPlane => ({
  ...resourcesOf(deps),
  ...keysOf(deps),
  ...usagesOf(deps),
  ...deploymentsOf(deps),
  listAudit: (query) => deps.store.audit.list(query),
});
