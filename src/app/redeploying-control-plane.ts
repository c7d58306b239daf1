import type { Engine } from '../batch/engine.ts';
import type { ControlPlane } from '../deployments/control/port.ts';

/** A control plane whose changes are answered once every request that is sent from then on follows them. */
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
