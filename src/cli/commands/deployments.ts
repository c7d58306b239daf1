import { DEPLOYMENT_DEFAULTS, SKUS, TOKENS_PER_CAPACITY, type WhenFull } from '../../contract/control.ts';
import { type ControlClient, type ControlCommandFlags, openControl } from '../client/control-client.ts';
import { type Deployment, ownerWord, present } from '../client/control-shapes.ts';
import { CliError, EXIT, type ExitCode } from '../process/exit.ts';
import {
  grouped,
  oneLine,
  print,
  printFacts,
  printJson,
  printListJson,
  printTable,
  tokenCount,
} from '../terminal/print.ts';

export interface InResourceFlags extends ControlCommandFlags {
  readonly resource: string;
}

export async function listDeployments(flags: InResourceFlags): Promise<ExitCode> {
  const deployments = await (await openControl(flags)).deployments(flags.resource);
  if (flags.json) printListJson(deployments);
  else
    printTable(['name', 'model', 'sku', 'limit', 'held', 'when full', 'served by'], deployments.map(summary));
  return EXIT.ok;
}

export async function showDeployment(name: string, flags: InResourceFlags): Promise<ExitCode> {
  show(await (await openControl(flags)).deployment(flags.resource, name), flags);
  return EXIT.ok;
}

export interface DeploymentFlags extends InResourceFlags {
  readonly model?: string;
  readonly version?: string;
  readonly sku?: string;
  /** The unit is a thousand enqueued tokens. */
  readonly capacity?: number;
  readonly dynamicQuota?: boolean;
  readonly queue?: WhenFull;
  readonly concurrency?: number;
  readonly contentFilter?: string;
  readonly versionUpgrade?: string;
  readonly upstream?: readonly string[];
}

export async function createDeployment(name: string, flags: DeploymentFlags): Promise<ExitCode> {
  const body = bodyOf({ ...flags, sku: flags.sku ?? DEPLOYMENT_DEFAULTS.sku });
  show(await (await openControl(flags)).putDeployment(flags.resource, name, body), flags);
  return EXIT.ok;
}

export async function updateDeployment(name: string, flags: DeploymentFlags): Promise<ExitCode> {
  const client = await openControl(flags);
  const body = bodyOf(await withModel(client, name, flags));
  if (Object.keys(body).length === 0) {
    throw new CliError(
      'Say what to change, such as --capacity 100 or --queue wait. --help lists it.',
      EXIT.usage,
    );
  }
  show(await client.patchDeployment(flags.resource, name, body), flags);
  return EXIT.ok;
}

export async function deleteDeployment(name: string, flags: InResourceFlags): Promise<ExitCode> {
  const deleted = await (await openControl(flags)).deleteDeployment(flags.resource, name);
  if (!deleted) {
    throw new CliError(`There is no deployment '${name}' in resource '${flags.resource}'.`, EXIT.failed);
  }
  if (flags.json) printJson({ name, resource: flags.resource, deleted });
  else print(`${name}  deleted`);
  return EXIT.ok;
}

/** In ARM a version is a part of the model, so it cannot be sent without the model's name. */
async function withModel(
  client: ControlClient,
  name: string,
  flags: DeploymentFlags,
): Promise<DeploymentFlags> {
  if (flags.version === undefined || flags.model !== undefined) return flags;
  const { properties } = await client.deployment(flags.resource, name);
  return { ...flags, model: properties.model.name };
}

/** The members of the ARM resource that the flags set. */
export function bodyOf(flags: DeploymentFlags): Record<string, unknown> {
  const { model, version, capacity, concurrency, sku, upstream } = flags;
  const offpeak = present({
    whenFull: flags.queue,
    concurrency,
    upstreams: upstream?.includes('all') ? null : upstream,
  });
  const properties = present({
    model: model === undefined ? undefined : { format: 'OpenAI', name: model, ...present({ version }) },
    versionUpgradeOption: flags.versionUpgrade,
    raiPolicyName: flags.contentFilter,
    dynamicThrottlingEnabled: flags.dynamicQuota,
    offpeak,
  });
  const name = sku === undefined ? undefined : oneOf(SKUS, sku, '--sku');
  return present({ sku: present({ name, capacity }), properties }) ?? {};
}

/** `global-batch` and `Global Batch` (so portals write it) mean `GlobalBatch`. */
function oneOf<T extends string>(names: readonly T[], text: string, flag: string): T {
  const bare = text.replaceAll(/[ -]/g, '').toLowerCase();
  const found = names.find((name) => name.toLowerCase() === bare);
  if (found !== undefined) return found;
  throw new CliError(`${flag} '${text}': expected one of ${names.join(', ')}.`, EXIT.usage);
}

function show(deployment: Deployment, { json }: ControlCommandFlags): void {
  if (json) return printJson(deployment);
  const { versionUpgradeOption, raiPolicyName, offpeak } = deployment.properties;
  printFacts([
    ['name', oneLine(deployment.name)],
    ['model', modelOf(deployment)],
    ['sku', oneLine(deployment.sku.name)],
    ['enqueued tokens', tokensLine(deployment)],
    ['when full', whenFull(deployment)],
    ['concurrency', offpeak?.concurrency == null ? '' : grouped(offpeak.concurrency)],
    ['version upgrade', oneLine(versionUpgradeOption ?? '')],
    ['content filter', filterWord(raiPolicyName)],
    ['served by', servedBy(deployment)],
    ['declared in', ownerWord(offpeak?.owner)],
  ]);
}

/** Azure's portal shows this name by default. Offpeak filters nothing, whatever the name is. */
const DEFAULT_FILTER = /^Microsoft\.Default/;

const filterWord = (name: string | null | undefined): string =>
  !name || DEFAULT_FILTER.test(name) ? 'none' : `none; the name '${oneLine(name)}' is only kept`;

const summary = (deployment: Deployment): string[] => [
  oneLine(deployment.name),
  modelOf(deployment),
  oneLine(deployment.sku.name),
  tokenCount(limitOf(deployment)),
  tokenCount(deployment.properties.offpeak?.enqueued_tokens?.held ?? 0),
  whenFull(deployment),
  servedBy(deployment),
];

/** Returns text such as `1,234 held of 50K, 90K more wanted by 2 waiting batches`. */
function tokensLine(deployment: Deployment): string {
  const { held, waiting, waiting_batches } = deployment.properties.offpeak?.enqueued_tokens ?? { held: 0 };
  const batches =
    waiting_batches === 1 ? '1 waiting batch' : `${grouped(waiting_batches ?? 0)} waiting batches`;
  const wanted = waiting ? `, ${tokenCount(waiting)} more wanted by ${batches}` : '';
  return `${tokenCount(held)} held of ${tokenCount(limitOf(deployment))}${wanted}`;
}

const limitOf = ({ sku, properties }: Deployment): number =>
  properties.offpeak?.enqueued_tokens?.limit ?? (sku.capacity ?? 0) * TOKENS_PER_CAPACITY;

const modelOf = ({ properties: { model } }: Deployment): string =>
  oneLine(model.version ? `${model.name} ${model.version}` : model.name);

const whenFull = ({ properties: { offpeak, dynamicThrottlingEnabled } }: Deployment): string =>
  `${oneLine(offpeak?.whenFull ?? DEPLOYMENT_DEFAULTS.whenFull)}${dynamicThrottlingEnabled ? ', dynamic quota' : ''}`;

const servedBy = ({ properties }: Deployment): string =>
  oneLine((properties.offpeak?.servedBy ?? []).join(', ') || 'no upstream');
