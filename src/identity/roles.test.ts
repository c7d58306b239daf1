import { describe, expect, test } from 'vitest';
import { ACTIONS, ROLES } from '../contract/control.ts';
import { isDataAction, permissionsOf, permissionsOfAdmin, permissionsOfKey, ROLE_ACTIONS } from './roles.ts';

const somebody = { id: 'oid-1', groups: ['group-1', 'group-2'], appRoles: ['role-1'] };
const READ_FILES = 'accounts/OpenAI/files/read';

describe('a role', () => {
  test.each([
    ['by object id', { oid: 'oid-1' }, true],
    ['by group', { group: 'group-2' }, true],
    ["by the application's role", { appRole: 'role-1' }, true],
    ['of somebody else', { oid: 'oid-2' }, false],
    ['of a group by the name of a person', { group: 'oid-1' }, false],
    ['of nobody', {}, false],
  ])('given %s applies to those that it names', (_name, to, allowed) => {
    const permissions = permissionsOf(somebody, [
      { role: 'Cognitive Services OpenAI User', resource: 'alpha', ...to },
    ]);

    expect([permissions.allows(READ_FILES, 'alpha'), permissions.allowsSome(READ_FILES)]).toEqual([
      allowed,
      allowed,
    ]);
  });

  test('counts on its resource alone, or on all', () => {
    const on = (resource: string) =>
      permissionsOf(somebody, [{ role: 'Cognitive Services OpenAI User', resource, oid: 'oid-1' }]);

    expect(['alpha', 'beta', '*', null].map((wanted) => on('alpha').allows(READ_FILES, wanted))).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(['alpha', 'beta', null].map((wanted) => on('*').allows(READ_FILES, wanted))).toEqual([
      true,
      true,
      true,
    ]);
  });

  test('adds to others', () => {
    const both = permissionsOf(somebody, [
      { role: 'Cognitive Services OpenAI User', resource: 'alpha', oid: 'oid-1' },
      { role: 'Cognitive Services Contributor', resource: 'beta', group: 'group-1' },
    ]);

    expect(both.allows('accounts/listKeys/action', 'beta')).toBe(true);
    expect(both.allows('accounts/listKeys/action', 'alpha')).toBe(false);
    expect(both.allows(READ_FILES, 'beta')).toBe(false);
  });
});

test('nobody but contributors changes anything, and only one role sees keys', () => {
  const rolesWith = (action: (typeof ACTIONS)[number]) =>
    ROLES.filter((role) => ROLE_ACTIONS[role].has(action));

  const changes = ACTIONS.filter(
    (name) => /\/(?:write|delete|action)$/.test(name) && !name.endsWith('completions/action'),
  );
  for (const role of changes.flatMap(rolesWith)) expect(role).toMatch(/Contributor$/);
  for (const action of ['accounts/listKeys/action', 'accounts/regenerateKey/action'] as const)
    expect(rolesWith(action)).toEqual(['Cognitive Services Contributor']);
  for (const action of ACTIONS) expect(rolesWith(action)).not.toEqual([]);
});

test('a key opens the data of its resource, the admin key the control plane, and neither the other', () => {
  const key = permissionsOfKey('alpha');

  for (const action of ACTIONS) {
    const isData = isDataAction(action);
    expect([action, key.allows(action, 'alpha'), permissionsOfAdmin.allows(action, 'alpha')]).toEqual([
      action,
      isData,
      !isData,
    ]);
    expect([key.allows(action, 'beta'), key.allows(action, null)]).toEqual([false, false]);
    expect([key.allowsSome(action), permissionsOfAdmin.allowsSome(action)]).toEqual([isData, !isData]);
  }
});
