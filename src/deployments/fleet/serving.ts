import type { DeploymentRow, Resource, Sku } from '../../contract/control.ts';
import type { Upstream } from '../../upstream/port.ts';

/** An upstream of the configuration. It is opened once for each model that deployments ask of it. */
export interface FleetUpstream {
  readonly name: string;
  readonly kind: 'simulator' | 'azure' | 'openai';
  readonly region: string;
  readonly dataZone: string;
  /** Each model that it serves, with the name there. Null: it serves any model under the model's own name. */
  readonly models: Readonly<Record<string, string>> | null;
  /** The one deployment that may use it. Null: every deployment whose SKU allows it. */
  readonly onlyFor: { readonly resourceId: string; readonly deployment: string } | null;
  /** Equal when an upstream is reached in the same way and with the same key. Then a new configuration keeps it open. */
  readonly fingerprint: string;
  open(modelThere: string): Upstream;
}

/** What a deployment asks of the fleet. */
export interface ServingQuery {
  readonly resourceId: string;
  readonly deployment: string;
  readonly model: string;
  /** The version of the model. Null or absent: the model has none. */
  readonly version?: string | null;
  readonly sku: Sku;
  /** The location of the resource. */
  readonly location: string;
  /** Names of the upstreams that the deployment chooses. Null: it makes no choice. */
  readonly only: readonly string[] | null;
}

export const servingQuery = (
  { location }: Pick<Resource, 'location'>,
  { resourceId, name, model, version, sku, upstreams }: DeploymentRow,
): ServingQuery => ({ resourceId, deployment: name, model, version, sku, location, only: upstreams });

export type DataZoneOf = (region: string) => string;

/** Global SKUs may use every upstream, Data Zone SKUs those in the resource's zone, Standard those in its region. */
export function mayServe(
  sku: Sku,
  upstream: { readonly region: string; readonly dataZone: string },
  resource: { readonly region: string; readonly dataZone: string },
): boolean {
  switch (sku) {
    case 'GlobalBatch':
    case 'GlobalStandard':
      return true;
    case 'DataZoneBatch':
    case 'DataZoneStandard':
      return upstream.dataZone === resource.dataZone;
    case 'Standard':
      return upstream.region === resource.region;
  }
}

/** The upstreams that may serve a deployment, in their order, each with the model's name there. */
export function eligible(
  upstreams: readonly FleetUpstream[],
  query: ServingQuery,
  dataZoneOf: DataZoneOf,
): { readonly upstream: FleetUpstream; readonly modelThere: string }[] {
  const resource = { region: query.location, dataZone: dataZoneOf(query.location) };
  return upstreams.flatMap((upstream) => {
    const { onlyFor } = upstream;
    const isForIt =
      onlyFor === null ||
      (onlyFor.resourceId === query.resourceId && onlyFor.deployment === query.deployment);
    const isChosen = query.only?.includes(upstream.name) ?? true;
    const modelThere = modelAt(upstream, query.model, query.version);
    return isForIt && isChosen && modelThere !== undefined && mayServe(query.sku, upstream, resource)
      ? [{ upstream, modelThere }]
      : [];
  });
}

/** A real server has one version of a model only. For the others, the name of the model has the version too. */
const HAS_VERSIONS: Record<FleetUpstream['kind'], boolean> = { simulator: true, azure: false, openai: false };

/** The model's name at an upstream. Undefined: the upstream does not serve it. */
export function modelAt(
  { models, kind }: FleetUpstream,
  model: string,
  version: string | null = null,
): string | undefined {
  const named = models === null ? model : Object.hasOwn(models, model) ? models[model] : undefined;
  return HAS_VERSIONS[kind] && named === model && version !== null ? `${model}-${version}` : named;
}
