import type { Scope } from '../contract/scope.ts';
import type { Log } from '../core/log.ts';
import type { ControlPlane } from '../deployments/control/port.ts';

/** A control plane that logs what operators change over the API, as the audit log has it. */
export function loggedControlPlane(plane: ControlPlane, log: Log): ControlPlane {
  const changed = (change: string, at: { actor: string; resource: string; deployment?: string }): void =>
    log.event('configuration.changed', { change, ...at });
  const deploymentAt = ({ resourceId, actor }: Scope, name: string) => ({
    actor,
    resource: resourceId,
    deployment: name,
  });
  return {
    ...plane,
    async putResource(actor, wanted) {
      const put = await plane.putResource(actor, wanted);
      changed(`resource ${put.created ? 'added' : 'set'}`, { actor, resource: wanted.id });
      return put;
    },
    async deleteResource(actor, resource) {
      const wasThere = await plane.deleteResource(actor, resource);
      if (wasThere) changed('resource removed', { actor, resource });
      return wasThere;
    },
    async putDeployment(scope, wanted) {
      const put = await plane.putDeployment(scope, wanted);
      changed(`deployment ${put.created ? 'added' : 'set'}`, deploymentAt(scope, wanted.name));
      return put;
    },
    async deleteDeployment(scope, name) {
      const wasThere = await plane.deleteDeployment(scope, name);
      if (wasThere) changed('deployment removed', deploymentAt(scope, name));
      return wasThere;
    },
    async listKeys(actor, resource) {
      const keys = await plane.listKeys(actor, resource);
      const made = keys.filter(({ value }) => value !== null);
      for (const { slot } of made) log.event('key.made', { resource, slot, actor });
      return keys;
    },
    async regenerateKey(actor, resource, slot) {
      const keys = await plane.regenerateKey(actor, resource, slot);
      log.event('key.rotated', { resource, slot, actor });
      return keys;
    },
  };
}
