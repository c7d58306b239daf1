import type { CatalogModel } from '../contract/catalog.ts';
import { DEPLOYMENT_DEFAULTS } from '../contract/control.ts';
import { DEFAULT_RESOURCE_ID } from '../contract/scope.ts';
import type { Declared, DeclaredDeployment, DeclaredResource } from './declared.ts';
import type { DeploymentEntry } from './deployment.ts';
import type { IdentityEntry, RoleAssignmentEntry } from './identity.ts';
import { resolveModel } from './model.ts';
import type { ResourceEntry } from './resource.ts';
import type { Locate, SectionName, Values } from './sections.ts';
import { DEFAULT_UPSTREAM, resolveInline, resolveUpstream, type UpstreamConfig } from './upstream.ts';

/** A resolved configuration: every option, and the objects of the file with their defaults. `createApp` is made from it. */
export interface AppConfig
  extends
    Declared,
    Omit<Values, SectionName | 'deployments' | 'upstream' | 'upstreamApiKey' | 'enqueuedTokensMax'> {
  /** Names are unique. */
  readonly upstreams: readonly UpstreamConfig[];
  readonly models: readonly CatalogModel[];
  /** Zone → regions, in addition to the built-in zones. */
  readonly dataZones: Readonly<Record<string, readonly string[]>>;
  /** Null: keys are accepted, and no tokens. */
  readonly identity: IdentityEntry | null;
  readonly roleAssignments: readonly RoleAssignmentEntry[];
}

const ENQUEUED_TOKENS_WITHOUT_QUOTA = 5e9;
export const DEFAULT_RESOURCE_GROUP = 'offpeak';

/** The simulator needs no set-up, so without any deployment it serves the one that the examples name. */
const EXAMPLE_DEPLOYMENT: DeploymentEntry = { name: 'gpt-4o-batch-deployment', model: 'gpt-4o' };

export function resolveConfig(values: Values, at: Locate = () => 'the command line'): AppConfig {
  const resources = resolveResources(values, at);
  const inline = resources.flatMap(({ inlineUpstreams }) => inlineUpstreams);
  return {
    ...values,
    resources: resources.map(({ resource }) => resource),
    enqueuedTokensDefault: values.enqueuedTokensMax ?? ENQUEUED_TOKENS_WITHOUT_QUOTA,
    upstreams: [...namedUpstreams(values, at), ...inline],
    models: (values.models ?? []).map(resolveModel),
    dataZones: values.dataZones ?? {},
    identity: values.identity,
    roleAssignments: values.roleAssignments ?? [],
  };
}

/**
 * The default upstream serves every model. Beside `upstreams` it is there only when the configuration asks for it, because
 * the simulator would answer in place of a real server.
 */
function namedUpstreams(values: Values, at: Locate): UpstreamConfig[] {
  const named = (values.upstreams ?? []).map((entry, index) =>
    resolveUpstream(entry, values, at('upstreams', [index])),
  );
  if (values.upstream === null && named.length > 0) return named;
  const entry = {
    name: DEFAULT_UPSTREAM,
    url: values.upstream ?? { kind: 'simulator' as const },
    ...(values.upstreamApiKey !== null && { apiKey: values.upstreamApiKey }),
  };
  return [resolveUpstream(entry, values, at('upstream')), ...named];
}

interface ResolvedResource {
  readonly resource: DeclaredResource;
  readonly inlineUpstreams: readonly UpstreamConfig[];
}

function resolveResources(values: Values, at: Locate): ResolvedResource[] {
  const entries = values.resources ?? [];
  const own = entries.findIndex(({ name }) => name === DEFAULT_RESOURCE_ID);
  const others = entries.flatMap((entry, index) =>
    index === own ? [] : [resolveResource(entry, { values, at, index, more: [] })],
  );
  const more =
    values.deployments ?? (entries.some(({ deployments }) => deployments) ? [] : [EXAMPLE_DEPLOYMENT]);
  const ofDefault = entries[own] ?? { name: DEFAULT_RESOURCE_ID };
  return [resolveResource(ofDefault, { values, at, index: own, more }), ...others];
}

interface Place {
  readonly values: Values;
  readonly at: Locate;
  /** The index of the entry in `resources`. -1: it is not there. */
  readonly index: number;
  /** Deployments that do not stand in the entry. */
  readonly more: readonly DeploymentEntry[];
}

function resolveResource(entry: ResourceEntry, { values, at, index, more }: Place): ResolvedResource {
  const isDefault = entry.name === DEFAULT_RESOURCE_ID;
  const entries = [
    ...more.map((deployment, i) => ({ deployment, source: at('deployments', [i]) })),
    ...(entry.deployments ?? []).map((deployment, i) => ({
      deployment,
      source: at('resources', [index, 'deployments', i]),
    })),
  ];
  const own = entries.map(({ deployment: entryOfIt, source }) => {
    const inline = inlineOf(entryOfIt, { resourceId: entry.name, values, source });
    return { inline, deployment: resolveDeployment(entryOfIt, { values, inline, source }) };
  });
  return {
    inlineUpstreams: own.flatMap(({ inline }) => inline),
    resource: {
      id: entry.name,
      location: entry.location ?? values.location,
      subscriptionId: entry.subscription ?? values.subscription,
      resourceGroup: entry.resourceGroup ?? DEFAULT_RESOURCE_GROUP,
      offer: entry.offer ?? values.offer,
      sharesKeys: entry.keys === undefined,
      keys: entry.keys ?? (isDefault && values.apiKey !== null ? [values.apiKey] : []),
      keyAuthDisabled: entry.disableKeyAuth ?? false,
      tags: entry.tags ?? {},
      deployments: own.map(({ deployment }) => deployment),
      source: index === -1 ? at('deployments') : at('resources', [index]),
    },
  };
}

function resolveDeployment(
  entry: DeploymentEntry,
  {
    values,
    inline,
    source,
  }: { readonly values: Values; readonly inline: readonly UpstreamConfig[]; readonly source: string },
): DeclaredDeployment {
  const named = entry.upstreams?.filter((upstream) => typeof upstream === 'string');
  return {
    name: entry.name,
    model: entry.model ?? entry.name,
    version: entry.version ?? null,
    sku: entry.sku ?? DEPLOYMENT_DEFAULTS.sku,
    enqueuedTokensMax: entry.enqueuedTokens ?? values.enqueuedTokensMax,
    dynamicQuota: entry.dynamicQuota ?? DEPLOYMENT_DEFAULTS.dynamicQuota,
    whenFull: entry.whenFull ?? DEPLOYMENT_DEFAULTS.whenFull,
    versionUpgradeOption: entry.versionUpgradeOption ?? DEPLOYMENT_DEFAULTS.versionUpgradeOption,
    contentFilter: entry.contentFilter ?? DEPLOYMENT_DEFAULTS.contentFilter,
    concurrencyMax: entry.concurrency ?? values.concurrencyMax,
    upstreams: named ? [...named, ...inline.map(({ name }) => name)] : null,
    tags: entry.tags ?? {},
    source,
  };
}

function inlineOf(
  { name, model, upstreams }: DeploymentEntry,
  place: { readonly resourceId: string; readonly values: Values; readonly source: string },
): UpstreamConfig[] {
  const { values } = place;
  const taken = new Set([DEFAULT_UPSTREAM, ...(values.upstreams ?? []).map((upstream) => upstream.name)]);
  return (upstreams ?? [])
    .filter((upstream) => typeof upstream !== 'string')
    .map((upstream) => {
      const inline = resolveInline(upstream, { ...place, deployment: name, model: model ?? name, taken });
      taken.add(inline.name);
      return inline;
    });
}
