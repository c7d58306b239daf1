import { BATCH_SKUS } from '../../contract/control.ts';
import { type LocationFlags, openControl } from '../client/control-client.ts';
import type { Model, Usage } from '../client/control-shapes.ts';
import { EXIT, type ExitCode } from '../process/exit.ts';
import { oneLine, printListJson, printTable, tokenCount } from '../terminal/print.ts';

/** Lists what can be deployed where, and how much quota is left. */
export async function listModels(flags: LocationFlags): Promise<ExitCode> {
  const client = await openControl(flags);
  const locations = await client.locations(flags);
  const found = await Promise.all(
    locations.map(async (location) => {
      const [models, usages] = await Promise.all([client.models(location), client.usages(location)]);
      return models.map((model) => ({ location, model, usages }));
    }),
  );
  if (flags.json) printListJson(found.flat().map(({ location, model }) => ({ location, ...model })));
  else printTable(HEADINGS, found.flat().map(row));
  return EXIT.ok;
}

const HEADINGS = ['location', 'model', 'version', 'inputs', 'USD per M in/out', 'SKUs and quota left'];

function row(found: { location: string; model: Model; usages: readonly Usage[] }): string[] {
  const { name, version, isDefaultVersion, offpeak } = found.model.model;
  const price = offpeak?.batchPrice;
  return [
    oneLine(found.location),
    oneLine(name),
    oneLine(version ? `${version}${isDefaultVersion ? ' (default)' : ''}` : '-'),
    oneLine((offpeak?.inputs ?? []).join('+')),
    price ? `${price.input}/${price.output}` : '-',
    skusAndQuota(found.model, found.usages) || '-',
  ];
}

/** Returns text such as `GlobalBatch 200M, DataZoneBatch no limit, Standard`. Only batch SKUs have such a quota. */
export function skusAndQuota({ model }: Model, usages: readonly Usage[]): string {
  const skus = (model.skus ?? []).map(({ name, usageName }) => {
    if (!BATCH_SKUS.some((sku) => sku === name)) return name;
    const usage = usages.find((candidate) => candidate.name.value === usageName)?.offpeak;
    return `${name} ${usage?.available_tokens == null ? 'no limit' : tokenCount(usage.available_tokens)}`;
  });
  return oneLine(skus.join(', '));
}
