import type { DeploymentRow, Resource, Sku } from '../../contract/control.ts';
import type { Upstream } from '../../upstream/port.ts';

/** An upstream as the configuration gives it; opened once for each model that is asked of it. */
export interface FleetUpstream {
  readonly name: string;
  readonly kind: 'simulator' | 'azure' | 'openai';
  readonly region: string;
  readonly dataZone: string;
  /** The models that it serves, by their names there; null: any, under its own name. */
  readonly models: Readonly<Record<string, string>> | null;
  /** The one deployment that it serves; null: every one that the SKU allows. */
  readonly onlyFor: { readonly resourceId: string; readonly deployment: string } | null;
  /** Equal for two that are reached in the same way, with the same key: a new configuration keeps those open. */
  readonly fingerprint: string;
  open(modelThere: string): Upstream;
}

/** What a deployment asks of the fleet. */
export interface ServingQuery {
  readonly resourceId: string;
  readonly deployment: string;
  readonly model: string;
  /** Null or absent: it has none. */
  readonly version?: string | null;
  readonly sku: Sku;
  /** Of the resource. */
  readonly location: string;
  /** The deployment's own choice, by name; null: no choice. */
  readonly only: readonly string[] | null;
}

/** What a deployment of a resource asks of the fleet. */
export const servingQuery = (
  { location }: Pick<Resource, 'location'>,
  { resourceId, name, model, version, sku, upstreams }: DeploymentRow,
): ServingQuery => ({ resourceId, deployment: name, model, version, sku, location, only: upstreams });

export type DataZoneOf = (region: string) => string;

/** What the SKUs mean: Global goes everywhere, Data Zone stays in the resource's zone, Standard in its region. */
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

/** Those of `upstreams` that may serve a deployment, in their order, with the model's name there. */
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

/**
 * Its name there; undefined: it is not served. The simulator is told the version that is deployed too; a real server knows
 * only its own.
 */
export function modelAt(
  { models, kind }: FleetUpstream,
  model: string,
  version: string | null = null,
): string | undefined {
  const named = models === null ? model : Object.hasOwn(models, model) ? models[model] : undefined;
  return kind === 'simulator' && named === model && version !== null ? `${model}-${version}` : named;
}
