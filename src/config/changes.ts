import type { AppConfig } from './config.ts';
import type { Option } from './option.ts';
import { OPTION_NAMES, OPTIONS, type OptionName } from './options.ts';
import type { Values } from './sections.ts';

/** What has changed in a configuration that is read again. It has names only, because values may be keys. */
export interface Changes {
  /** Texts such as `deployment default/chat added` and `--concurrency`. */
  readonly applied: readonly string[];
  /** Flags of options whose new value is used from the next start on. */
  readonly needRestart: readonly string[];
}

/** The new values, but the old ones where a change needs a restart. */
export function reloadable(before: Values, after: Values): Values {
  const kept = OPTION_NAMES.filter((name) => !reloads(name)).map((name) => [name, before[name]]);
  return { ...after, ...Object.fromEntries(kept) };
}

export function changesOf(
  before: { readonly values: Values; readonly config: AppConfig },
  after: { readonly values: Values; readonly config: AppConfig },
): Changes {
  const changed = OPTION_NAMES.filter((name) => !isEqual(before.values[name], after.values[name]));
  const flags = (names: readonly OptionName[]) => names.map((name) => `--${OPTIONS[name].flag}`);
  return {
    applied: [
      // Its deployments are listed one by one.
      ...flags(changed.filter((name) => reloads(name) && name !== 'deployments')),
      ...Object.entries(OBJECTS).flatMap(([kind, namesOf]) =>
        differences(kind, namesOf(before.config), namesOf(after.config)),
      ),
    ],
    needRestart: flags(changed.filter((name) => !reloads(name))),
  };
}

function reloads(name: OptionName): boolean {
  const option: Option<unknown, unknown> = OPTIONS[name];
  return option.reloads ?? false;
}

type Named = readonly (readonly [name: string, object: unknown])[];

const OBJECTS: Readonly<Record<string, (config: AppConfig) => Named>> = {
  resource: ({ resources }) => resources.map((one) => [one.id, { ...one, deployments: null }]),
  deployment: ({ resources }) =>
    resources.flatMap(({ id, deployments }) => deployments.map((one) => [`${id}/${one.name}`, one] as const)),
  upstream: ({ upstreams }) =>
    upstreams.map((one) => {
      const owner = one.onlyFor ? `${one.onlyFor.resourceId}/${one.onlyFor.deployment}/` : '';
      return [`${owner}${one.name}`, one];
    }),
  model: ({ models }) => models.map((one) => [`${one.name} ${one.version ?? ''}`.trim(), one]),
  'data zone': ({ dataZones }) => Object.entries(dataZones),
  identity: ({ identity }) => (identity ? [['', identity]] : []),
  'role assignment': ({ roleAssignments }) =>
    roleAssignments.map((one) => [
      `${one.role} on ${one.resource} for ${one.oid ?? one.group ?? one.appRole ?? ''}`,
      one,
    ]),
};

function differences(kind: string, before: Named, after: Named): string[] {
  const [old, now] = [new Map(before), new Map(after)];
  const change = (name: string, what: string) => [kind, name, what].filter(Boolean).join(' ');
  const added = after.filter(([name]) => !old.has(name)).map(([name]) => change(name, 'added'));
  const changed = after
    .filter(([name, object]) => old.has(name) && !isEqual(old.get(name), object))
    .map(([name]) => change(name, 'changed'));
  const removed = before.filter(([name]) => !now.has(name)).map(([name]) => change(name, 'removed'));
  return [...added, ...changed, ...removed];
}

/** The place in the file makes no difference. */
const isEqual = (a: unknown, b: unknown): boolean => canonical(a) === canonical(b);

const canonical = (value: unknown): string =>
  JSON.stringify(value, (key, inner: unknown) => (key === 'source' ? undefined : inner)) ?? '';
