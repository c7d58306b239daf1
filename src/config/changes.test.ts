import { expect, test } from 'vitest';
import { changesOf, reloadable } from './changes.ts';
import { resolveConfig } from './config.ts';
import { defaultValues, type Values } from './sections.ts';

const given = (change: Partial<Values> = {}) => {
  const values = { ...defaultValues(), ...change };
  return { values, config: resolveConfig(values) };
};

test('lines that only moved in the file are no changes', () => {
  const values = { ...defaultValues(), deployments: [{ name: 'a' }] };
  const at = (line: number) => ({ values, config: resolveConfig(values, () => `offpeak.yaml:${line}`) });

  expect(changesOf(at(1), at(2))).toEqual({ applied: [], needRestart: [] });
});

test('changes name objects by kind and name, options by flag, and no values', () => {
  const before = given({
    apiKey: 'canary-1',
    deployments: [{ name: 'a' }, { name: 'b' }],
    upstreams: [{ name: 'one', url: { kind: 'http', url: 'http://h/v1' }, apiKey: 'canary-2' }],
  });
  const after = given({
    apiKey: 'canary-3',
    deployments: [{ name: 'a', concurrency: 3 }, { name: 'c' }],
    upstreams: [{ name: 'one', url: { kind: 'http', url: 'http://h/v1' }, apiKey: 'canary-4' }],
    resources: [{ name: 'search' }],
    roleAssignments: [{ role: 'Reader', oid: 'o-1', resource: '*' }],
  });

  const { applied } = changesOf(before, after);

  expect(applied).toEqual([
    '--api-key',
    'resource search added',
    'resource default changed',
    'deployment default/c added',
    'deployment default/a changed',
    'deployment default/b removed',
    'upstream one changed',
    'role assignment Reader on * for o-1 added',
  ]);
});

test('what needs a restart keeps its value until then', () => {
  const before = given({ location: 'eastus', concurrencyMax: 4 });
  const after = given({ location: 'westus', concurrencyMax: 8 });

  const values = reloadable(before.values, after.values);

  expect(values).toMatchObject({ location: 'eastus', concurrencyMax: 8 });
  expect(changesOf(before, after).needRestart).toEqual(['--location']);
});
