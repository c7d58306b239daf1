import type { Engine } from '../batch/engine.ts';
import type { ControlPlane } from '../deployments/control/port.ts';

/** Whoever changes what serves batches hears that it is done when every request from then on goes where it says. */
export function followedBy(engine: Pick<Engine, 'redeploy'>, plane: ControlPlane): ControlPlane {
  const then = async <T>(change: Promise<T>): Promise<T> => {
    const result = await change;
    await engine.redeploy();
    return result;
  };
  return {
    ...plane,
    putResource: (actor, wanted) => then(plane.putResource(actor, wanted)),
    putDeployment: (scope, wanted) => then(plane.putDeployment(scope, wanted)),
    deleteDeployment: (scope, name) => then(plane.deleteDeployment(scope, name)),
  };
}
