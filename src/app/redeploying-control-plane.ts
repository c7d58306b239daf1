import type { Engine } from '../batch/engine.ts';
import type { ControlPlane } from '../deployments/control/port.ts';

/** A change of what serves batches is answered when every request that is sent from then on follows it. */
export function redeployingControlPlane(plane: ControlPlane, engine: Pick<Engine, 'redeploy'>): ControlPlane {
  const redeployAfter = async <T>(change: Promise<T>): Promise<T> => {
    const result = await change;
    await engine.redeploy();
    return result;
  };
  return {
    ...plane,
    putResource: (actor, wanted) => redeployAfter(plane.putResource(actor, wanted)),
    putDeployment: (scope, wanted) => redeployAfter(plane.putDeployment(scope, wanted)),
    deleteDeployment: (scope, name) => redeployAfter(plane.deleteDeployment(scope, name)),
  };
}
