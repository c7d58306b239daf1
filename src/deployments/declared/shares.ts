import { TOKENS_PER_CAPACITY, type DeploymentRow, type Resource } from '../../contract/control.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Declared, DeclaredFault } from './declared.ts';
import { insufficientQuota } from '../rules.ts';

/** A declared deployment. One that is not fixed takes an equal share of what the others of its quota leave. */
export interface Sharer {
  readonly path: string;
  readonly row: DeploymentRow;
  readonly isFixed: boolean;
}

export interface PlannedDeployment {
  readonly path: string;
  readonly row: DeploymentRow;
  readonly quotaTokensMax: number | null;
}

export interface ShareFacts {
  /** Deployments that are there besides, and stay. */
  readonly kept: readonly DeploymentRow[];
  /** Every resource as it will be. */
  readonly resources: readonly Resource[];
  readonly catalog: Catalog;
  readonly enqueuedTokensDefault: number;
}

/** Gives each declared deployment its enqueued tokens: what it names if that fits, else its share. */
export function shareOut(
  sharers: readonly Sharer[],
  facts: ShareFacts,
): { readonly deployments: PlannedDeployment[]; readonly faults: DeclaredFault[] } {
  const groups = Map.groupBy(sharers, ({ row }) => groupOf(row, facts));
  const parts = [...groups].map(([group, members]) => {
    const taken = sumOf(facts.kept.filter((row) => groupOf(row, facts) === group));
    return shareGroup(members, taken, facts);
  });
  return {
    deployments: parts.flatMap(({ deployments }) => deployments),
    faults: parts.flatMap(({ faults }) => faults),
  };
}

function shareGroup(
  members: readonly Sharer[],
  taken: number,
  facts: ShareFacts,
): { deployments: PlannedDeployment[]; faults: DeclaredFault[] } {
  const faults: DeclaredFault[] = [];
  const deployments: PlannedDeployment[] = [];
  let used = taken;
  for (const { path, row } of members.filter(({ isFixed }) => isFixed)) {
    const limit = limitOf(row, facts);
    const wanted = row.enqueuedTokensMax;
    if (limit !== null && used + wanted > limit) {
      faults.push({ path, message: insufficientQuota(row, { wanted, own: 0, others: used, limit }).message });
    } else used += wanted;
    deployments.push({ path, row, quotaTokensMax: limit });
  }
  const open = members.filter(({ isFixed }) => !isFixed);
  const limited = open.filter(({ row }) => limitOf(row, facts) !== null);
  for (const { path, row } of open) {
    const limit = limitOf(row, facts);
    const enqueuedTokensMax =
      limit === null
        ? facts.enqueuedTokensDefault
        : roundDown(Math.max(0, limit - used) / Math.max(1, limited.length));
    if (enqueuedTokensMax === 0) faults.push({ path, message: nothingLeft(row, { used, limit, facts }) });
    deployments.push({ path, row: { ...row, enqueuedTokensMax }, quotaTokensMax: limit });
  }
  return { deployments, faults };
}

const roundDown = (tokens: number): number => Math.floor(tokens / TOKENS_PER_CAPACITY) * TOKENS_PER_CAPACITY;

function nothingLeft(
  row: DeploymentRow,
  { used, limit, facts }: { used: number; limit: number | null; facts: ShareFacts },
): string {
  const { name, model, sku } = row;
  const resource = resourceOf(row, facts);
  const of = `the deployment '${name}', ${sku} of ${model} in '${resource?.location}'`;
  return limit === 0
    ? `The offer '${resource?.offer}' has no quota for ${of}. Choose another model, or another offer.`
    : `Nothing of the quota of ${limit} enqueued tokens is left for ${of}: the others have ${used}. Lower their enqueuedTokens.`;
}

/** Deployments made over the API must still fit when their resource gets another offer or place. */
export function faultsOfStanding({ resources }: Declared, facts: ShareFacts): DeclaredFault[] {
  return resources.flatMap(({ id, path, offer, location }) => {
    const own = facts.kept.filter(({ resourceId }) => resourceId === id);
    const groups = new Map(own.map((row) => [groupOf(row, facts), row]));
    return [...groups].flatMap(([group, row]) => {
      const limit = limitOf(row, facts);
      const used = sumOf(facts.kept.filter((other) => groupOf(other, facts) === group));
      if (limit === null || used <= limit) return [];
      return [
        {
          path,
          message: `The offer '${offer}' has a quota of ${limit} enqueued tokens for ${row.sku} of ${row.model} in '${location}', and deployments made over the API have ${used} of it already. Lower these first.`,
        },
      ];
    });
  });
}

const sumOf = (rows: readonly DeploymentRow[]): number =>
  rows.reduce((sum, { enqueuedTokensMax }) => sum + enqueuedTokensMax, 0);

const resourceOf = ({ resourceId }: DeploymentRow, { resources }: ShareFacts): Resource | undefined =>
  resources.find(({ id }) => id === resourceId);

function groupOf(row: DeploymentRow, facts: ShareFacts): string {
  const resource = resourceOf(row, facts);
  return JSON.stringify([resource?.subscriptionId, resource?.location, row.model, row.sku]);
}

function limitOf(row: DeploymentRow, facts: ShareFacts): number | null {
  const offer = resourceOf(row, facts)?.offer ?? 'unlimited';
  const { sku, model, version } = row;
  return facts.catalog.quotaTokens({ offer, sku, model, version });
}
