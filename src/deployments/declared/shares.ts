import type { Fault } from '../../config/fault.ts';
import { TOKENS_PER_CAPACITY, type DeploymentRow, type Resource } from '../../contract/control.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { insufficientQuota } from '../rules.ts';

/** A deployment with its resource: together they say which quota it takes from. */
export interface PlacedDeployment {
  readonly resource: Resource;
  readonly row: DeploymentRow;
}

/** A declared deployment as it will be stored. */
export interface PlannedDeployment extends PlacedDeployment {
  /** Where it is declared, as faults name it. */
  readonly source: string;
  /** Whether it names no limit, and so takes an equal share of what the others of its quota leave. */
  readonly takesShare: boolean;
}

interface ShareFacts {
  /** Deployments that are not planned, and stay as they are. */
  readonly kept: readonly PlacedDeployment[];
  readonly catalog: Catalog;
  readonly enqueuedTokensDefault: number;
}

interface Shares {
  readonly deployments: PlannedDeployment[];
  readonly faults: Fault[];
}

/** Gives each deployment its enqueued tokens: what it names, or its share of what is left. */
export function shareOut(planned: readonly PlannedDeployment[], facts: ShareFacts): Shares {
  const quotas = [...Map.groupBy(planned, quotaKey)].map(([key, members]) =>
    shareQuota(members, sumOf(facts.kept.filter((one) => quotaKey(one) === key)), facts),
  );
  return {
    deployments: quotas.flatMap(({ deployments }) => deployments),
    faults: quotas.flatMap(({ faults }) => faults),
  };
}

function shareQuota(
  members: readonly PlannedDeployment[],
  taken: number,
  { catalog, enqueuedTokensDefault }: ShareFacts,
): Shares {
  const faults: Fault[] = [];
  const deployments: PlannedDeployment[] = [];
  let used = taken;
  for (const one of members.filter(({ takesShare }) => !takesShare)) {
    const limit = quotaTokensOf(one, catalog);
    const wanted = one.row.enqueuedTokensMax;
    if (limit !== null && used + wanted > limit) {
      const { message } = insufficientQuota(one.row, { wanted, own: 0, others: used, limit });
      faults.push({ source: one.source, message });
    } else used += wanted;
    deployments.push(one);
  }
  const sharing = members.filter(({ takesShare }) => takesShare);
  const limited = sharing.filter((one) => quotaTokensOf(one, catalog) !== null).length;
  for (const one of sharing) {
    const limit = quotaTokensOf(one, catalog);
    const enqueuedTokensMax =
      limit === null ? enqueuedTokensDefault : roundDown(Math.max(0, limit - used) / limited);
    if (enqueuedTokensMax === 0)
      faults.push({ source: one.source, message: nothingLeft(one, { used, limit }) });
    deployments.push({ ...one, row: { ...one.row, enqueuedTokensMax } });
  }
  return { deployments, faults };
}

const roundDown = (tokens: number): number => Math.floor(tokens / TOKENS_PER_CAPACITY) * TOKENS_PER_CAPACITY;

function nothingLeft(
  { resource: { location, offer }, row: { name, model, sku } }: PlacedDeployment,
  { used, limit }: { readonly used: number; readonly limit: number | null },
): string {
  const of = `the deployment '${name}', ${sku} of ${model} in '${location}'`;
  return limit === 0
    ? `The offer '${offer}' has no quota for ${of}. Choose another model, or another offer.`
    : `Nothing of the quota of ${limit} enqueued tokens is left for ${of}: the others have ${used}. Lower their enqueuedTokens.`;
}

export const sumOf = (deployments: readonly PlacedDeployment[]): number =>
  deployments.reduce((sum, { row }) => sum + row.enqueuedTokensMax, 0);

/** Deployments that share one quota have the same key. */
export const quotaKey = ({ resource, row }: PlacedDeployment): string =>
  JSON.stringify([resource.subscriptionId, resource.location, row.model, row.sku]);

/** The enqueued tokens of a deployment's quota. Null: its model has no quota. */
export const quotaTokensOf = (
  { resource: { offer }, row }: PlacedDeployment,
  catalog: Catalog,
): number | null => catalog.quotaTokens({ ...row, offer });
