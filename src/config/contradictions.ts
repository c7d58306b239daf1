import { DEFAULT_RESOURCE_ID } from '../contract/scope.ts';
import type { DeploymentEntry } from './deployment.ts';
import type { Fault } from './fault.ts';
import type { OptionCommand } from './option.ts';
import type { ResourceEntry } from './resource.ts';
import type { Locate, ValueName, Values } from './sections.ts';
import { DEFAULT_UPSTREAM } from './upstream.ts';
import { addressText, isSimulated } from './upstream-address.ts';
import { didYouMean } from '../core/suggest.ts';

interface Seen {
  readonly command: OptionCommand;
  readonly at: Locate;
}

type Check = (values: Values, seen: Seen) => Fault[];

/** Each check has the values that it looks at. */
const CHECKS: readonly (readonly [Check, readonly ValueName[]])[] = [
  [ofDefaultUpstream, ['upstream', 'deployments', 'resources']],
  [ofDeployments, ['deployments', 'resources', 'upstreams', 'upstream']],
  [ofResources, ['resources']],
  [ofUpstreams, ['upstream', 'upstreams']],
  [ofKeys, ['apiKey', 'adminKey', 'resources']],
  [ofModels, ['models']],
  [ofDataZones, ['dataZones']],
  [ofTls, ['tlsCertPath', 'tlsKeyPath', 'tlsSelfSigned']],
];

/** Finds faults that show only when values are seen together. It skips values that have a fault already. */
export function contradictions(
  values: Values,
  seen: Seen & { readonly faulty: ReadonlySet<ValueName> },
): Fault[] {
  const sound = CHECKS.filter(([, names]) => !names.some((name) => seen.faulty.has(name)));
  return sound.flatMap(([check]) => check(values, seen));
}

function ofDefaultUpstream({ upstream, deployments, resources }: Values, { command, at }: Seen): Fault[] {
  if (command !== 'serve' || upstream === null || isSimulated(upstream)) return [];
  if (deployments !== null || resources !== null) return [];
  const message = `${addressText(upstream)} has no deployment yet. Add --deployment NAME=MODEL: the name that callers put in \`model\`, and the model's name there.`;
  return [{ source: at('upstream'), message }];
}

interface PlacedEntry {
  readonly resource: string;
  readonly entry: DeploymentEntry;
  /** The line of the entry, or of a part of it. */
  readonly at: (...path: readonly PropertyKey[]) => string;
}

/** Every deployment with its resource. Those of the default resource may stand in two lists. */
function placedEntries({ deployments, resources }: Values, { at }: Seen): PlacedEntry[] {
  const own = (deployments ?? []).map((entry, index): PlacedEntry => {
    return { resource: DEFAULT_RESOURCE_ID, entry, at: (...path) => at('deployments', [index, ...path]) };
  });
  const ofResource = ({ name, deployments: entries }: ResourceEntry, index: number): PlacedEntry[] =>
    (entries ?? []).map((entry, place) => {
      return {
        resource: name,
        entry,
        at: (...path) => at('resources', [index, 'deployments', place, ...path]),
      };
    });
  return [...own, ...(resources ?? []).flatMap(ofResource)];
}

function ofDeployments(values: Values, seen: Seen): Fault[] {
  const entries = placedEntries(values, seen);
  const named = (values.upstreams ?? []).map(({ name }) => name);
  const upstreams = values.upstream === null && named.length > 0 ? named : [DEFAULT_UPSTREAM, ...named];
  const none = { source: seen.at('deployments'), message: 'expected at least one deployment' };
  return [
    ...(values.deployments?.length === 0 ? [none] : []),
    ...twice(entries, ({ resource, entry }) => JSON.stringify([resource, entry.name])).map(({ item }) => ({
      source: item.at(),
      message: `deployment '${item.entry.name}' is given twice. Keep one.`,
    })),
    ...entries.flatMap((one) => unknownUpstreams(one, upstreams)),
  ];
}

function unknownUpstreams({ entry, at }: PlacedEntry, upstreams: readonly string[]): Fault[] {
  return (entry.upstreams ?? []).flatMap((upstream, index) => {
    if (typeof upstream !== 'string' || upstreams.includes(upstream)) return [];
    const message = `deployment '${entry.name}': there is no upstream '${upstream}'.${didYouMean(upstream, upstreams)}`;
    return [{ source: at('upstreams', index), message }];
  });
}

function ofResources({ resources }: Values, { at }: Seen): Fault[] {
  return twice(resources ?? [], ({ name }) => name).map(({ index, key }) => ({
    source: at('resources', [index]),
    message: `resource '${key}' is given twice. Keep one.`,
  }));
}

function ofUpstreams({ upstream, upstreams }: Values, { at }: Seen): Fault[] {
  const entries = upstreams ?? [];
  const taken = upstream === null ? -1 : entries.findIndex(({ name }) => name === DEFAULT_UPSTREAM);
  const message = `'${DEFAULT_UPSTREAM}' is the name of the one from ${at('upstream')}. Choose another.`;
  return [
    ...(taken === -1 ? [] : [{ source: at('upstreams', [taken]), message }]),
    ...twice(entries, ({ name }) => name).map(({ index, key }) => ({
      source: at('upstreams', [index]),
      message: `upstream '${key}' is given twice. Keep one.`,
    })),
  ];
}

/** A key says who calls, so no two keys may be the same. Faults never show a key. */
function ofKeys({ apiKey, adminKey, resources }: Values, { at }: Seen): Fault[] {
  const faults: Fault[] = [];
  const keys = [
    ...(adminKey === null ? [] : [{ key: adminKey, source: at('adminKey') }]),
    ...(apiKey === null ? [] : [{ key: apiKey, source: at('apiKey') }]),
    ...(resources ?? []).flatMap(({ keys: own }, index) =>
      (own ?? []).map((key, slot) => ({ key, source: at('resources', [index, 'keys', slot]) })),
    ),
  ];
  for (const { item } of twice(keys, ({ key }) => key)) {
    const message = 'this key is given for something else as well. Make a key for each.';
    faults.push({ source: item.source, message });
  }
  const ofDefault = (resources ?? []).findIndex(({ name, keys: own }) => name === DEFAULT_RESOURCE_ID && own);
  if (apiKey !== null && ofDefault !== -1) {
    const message = `the default resource has a key from ${at('apiKey')} already. Keep one of the two.`;
    faults.push({ source: at('resources', [ofDefault, 'keys']), message });
  }
  return faults;
}

function ofModels({ models }: Values, { at }: Seen): Fault[] {
  const entries = models ?? [];
  const repeated = twice(entries, ({ name, version }) => JSON.stringify([name, version]));
  const defaults = entries.map(({ name, default: isDefault }, index) => (isDefault ? name : `${index}`));
  return [
    ...repeated.map(({ item, index }) => ({
      source: at('models', [index]),
      message: `model '${item.name}' is given twice in the same version. Keep one.`,
    })),
    ...twice(defaults, (name) => name).map(({ index, key }) => ({
      source: at('models', [index]),
      message: `model '${key}' has two default versions. Keep \`default: true\` on one.`,
    })),
  ];
}

function ofDataZones({ dataZones }: Values, { at }: Seen): Fault[] {
  const regions = Object.entries(dataZones ?? {}).flatMap(([zone, inIt]) =>
    inIt.map((region, index) => ({ region, zone, index })),
  );
  return twice(regions, ({ region }) => region).map(({ item: { region, zone, index } }) => ({
    source: at('dataZones', [zone, index]),
    message: `region '${region}' is in two data zones. Keep one.`,
  }));
}

function ofTls({ tlsCertPath, tlsKeyPath, tlsSelfSigned }: Values, { at }: Seen): Fault[] {
  if (tlsSelfSigned && (tlsCertPath !== null || tlsKeyPath !== null)) {
    const message = 'a certificate of your own is given as well. Keep one of the two.';
    return [{ source: at('tlsSelfSigned'), message }];
  }
  if (tlsCertPath !== null && tlsKeyPath === null) {
    return [{ source: at('tlsCertPath'), message: 'its private key is missing. Add --tls-key FILE.' }];
  }
  if (tlsKeyPath !== null && tlsCertPath === null) {
    return [{ source: at('tlsKeyPath'), message: 'its certificate is missing. Add --tls-cert FILE.' }];
  }
  return [];
}

/** The items whose key an earlier item has. */
function twice<T>(
  items: readonly T[],
  keyOf: (item: T) => string,
): { item: T; index: number; key: string }[] {
  const known = new Set<string>();
  return items.flatMap((item, index) => {
    const key = keyOf(item);
    if (known.has(key)) return [{ item, index, key }];
    known.add(key);
    return [];
  });
}
