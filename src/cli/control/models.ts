import { BATCH_SKUS } from '../../contract/control.ts';
import { EXIT, type ExitCode } from '../exit.ts';
import { oneLine, printJson, printTable, tokenCount } from '../terminal.ts';
import { ControlClient } from './client.ts';
import { locationsOf, type LocationFlags } from './quota.ts';
import type { Model, Usage } from './shapes.ts';

/** What can be deployed where, and how much of it is left. */
export async function listModels(flags: LocationFlags): Promise<ExitCode> {
  const client = new ControlClient(flags);
  const locations = await locationsOf(client, flags);
  const found = await Promise.all(
    locations.map(async (location) => {
      const [models, usages] = await Promise.all([client.models(location), client.usages(location)]);
      return models.map((model) => ({ location, model, usages }));
    }),
  );
  if (flags.json) printJson(found.flat().map(({ location, model }) => ({ location, ...model })));
  else printTable(HEADINGS, found.flat().map(row));
  return EXIT.ok;
}

const HEADINGS = ['location', 'model', 'version', 'inputs', 'USD per M in/out', 'skus', 'quota left'];

function row(found: { location: string; model: Model; usages: readonly Usage[] }): string[] {
  const { name, version, isDefaultVersion, skus, offpeak } = found.model.model;
  const price = offpeak?.batchPrice;
  return [
    oneLine(found.location),
    oneLine(name),
    oneLine(version ? `${version}${isDefaultVersion ? ' (default)' : ''}` : '-'),
    oneLine((offpeak?.inputs ?? []).join('+')),
    price ? `${price.input}/${price.output}` : '-',
    oneLine((skus ?? []).map((sku) => sku.name).join(',')) || '-',
    quotaLeft(found.model, found.usages) || '-',
  ];
}

/** Of the batch SKUs, as `GlobalBatch 200M`. */
export function quotaLeft({ model }: Model, usages: readonly Usage[]): string {
  const batch = (model.skus ?? []).filter(({ name }) => BATCH_SKUS.some((sku) => sku === name));
  return batch
    .map(({ name, usageName }) => {
      const usage = usages.find((candidate) => candidate.name.value === usageName)?.offpeak;
      const limit = usage?.limit_tokens ?? null;
      const left =
        limit === null ? 'no limit' : tokenCount(Math.max(0, limit - (usage?.allocated_tokens ?? 0)));
      return oneLine(`${name} ${left}`);
    })
    .join(', ');
}
