/** What each role allows, and who has it. A valid token without a role allows nothing. */
import { ACTIONS, type Action, type DataAction, type Role } from '../contract/control.ts';
import type { Principal, RoleAssignment } from './port.ts';

export const isDataAction = (action: Action): action is DataAction => action.startsWith('accounts/OpenAI/');

const READ_CATALOG = [
  'accounts/read',
  'accounts/deployments/read',
  'accounts/models/read',
  'locations/models/read',
] as const;

const OPENAI_USER = [
  ...READ_CATALOG,
  'accounts/OpenAI/files/read',
  'accounts/OpenAI/batches/read',
  'accounts/OpenAI/deployments/read',
  'accounts/OpenAI/deployments/chat/completions/action',
  'accounts/OpenAI/models/read',
  'accounts/OpenAI/usages/read',
] as const;

export const ROLE_ACTIONS: Readonly<Record<Role, ReadonlySet<Action>>> = {
  'Cognitive Services OpenAI User': new Set<Action>(OPENAI_USER),
  'Cognitive Services OpenAI Contributor': new Set<Action>([
    ...OPENAI_USER,
    'accounts/OpenAI/files/write',
    'accounts/OpenAI/files/delete',
    'accounts/OpenAI/batch-jobs/write',
    'accounts/OpenAI/batches/cancel/action',
    'accounts/deployments/write',
    'accounts/deployments/delete',
  ]),
  'Cognitive Services Contributor': new Set<Action>(ACTIONS.filter((action) => !isDataAction(action))),
  'Cognitive Services Usages Reader': new Set<Action>([
    'accounts/OpenAI/usages/read',
    'accounts/usages/read',
    'locations/usages/read',
  ]),
  Reader: new Set<Action>([...READ_CATALOG, 'accounts/usages/read', 'locations/usages/read', 'audit/read']),
};

const EVERY_RESOURCE = '*';

type Permissions = Pick<Principal, 'allows' | 'allowsSome'>;

/** Who a valid token is for. */
export interface TokenSubject {
  readonly id: string;
  readonly groups: readonly string[];
  readonly appRoles: readonly string[];
}

export function permissionsOf(subject: TokenSubject, assignments: readonly RoleAssignment[]): Permissions {
  const own = assignments.filter(
    ({ oid, group, appRole }) =>
      (oid !== undefined && oid === subject.id) ||
      (group !== undefined && subject.groups.includes(group)) ||
      (appRole !== undefined && subject.appRoles.includes(appRole)),
  );
  return {
    allows: (action, resourceId) =>
      own.some(
        ({ role, resource }) =>
          (resource === EVERY_RESOURCE || resource === resourceId) && ROLE_ACTIONS[role].has(action),
      ),
    allowsSome: (action) => own.some(({ role }) => ROLE_ACTIONS[role].has(action)),
  };
}

/** A key of a resource opens all of its data, and nothing of the control plane. */
export const permissionsOfKey = (resourceId: string): Permissions => ({
  allows: (action, wanted) => isDataAction(action) && wanted === resourceId,
  allowsSome: isDataAction,
});

/** The admin key opens the control plane, and no data. */
export const permissionsOfAdmin: Permissions = {
  allows: (action) => !isDataAction(action),
  allowsSome: (action) => !isDataAction(action),
};
