import { type LocationFlags, openControl } from '../client/control-client.ts';
import type { Usage } from '../client/control-shapes.ts';
import { EXIT, type ExitCode } from '../process/exit.ts';
import { grouped, note, oneLine, printListJson, printTable, tokenCount } from '../terminal/print.ts';

/** Shows what deployments have of the subscription's quotas, and what batches hold of that. */
export async function showQuota(flags: LocationFlags): Promise<ExitCode> {
  const client = await openControl(flags);
  const locations = await client.locations(flags);
  const usages = await Promise.all(
    locations.map(async (location) =>
      (await client.usages(location)).map((usage) => ({ location, ...usage })),
    ),
  );
  if (flags.json) {
    printListJson(usages.flat());
    return EXIT.ok;
  }
  const shown = usages.flat().filter((usage) => flags.location !== undefined || isUsed(usage));
  printTable(HEADINGS, shown.map(quotaRow));
  const others = usages.flat().length - shown.length;
  if (others > 0) note(`${grouped(others)} more quotas are unused. --location REGION shows all of a region.`);
  return EXIT.ok;
}

const HEADINGS = [
  'location',
  'model',
  'sku',
  'allocated',
  'held',
  'available',
  'limit',
  'held, allocated, free',
];

const isUsed = ({ offpeak }: Usage): boolean => offpeak.allocated_tokens > 0 || offpeak.held_tokens > 0;

function quotaRow(usage: Usage & { readonly location: string }): string[] {
  const { allocated_tokens: allocated, held_tokens: held, limit_tokens: limit } = usage.offpeak;
  const { model, sku } = modelAndSku(usage.name.value);
  return [
    oneLine(usage.location),
    oneLine(model),
    oneLine(sku),
    tokenCount(allocated),
    tokenCount(held),
    usage.offpeak.available_tokens === null ? 'no limit' : tokenCount(usage.offpeak.available_tokens),
    limit === null ? 'none' : tokenCount(limit),
    ...(process.stdout.isTTY && limit !== null ? [bar({ allocated, held, limit })] : []),
  ];
}

/** Splits a name such as `OpenAI.GlobalBatch.gpt-4.1` into GlobalBatch and gpt-4.1. */
export function modelAndSku(name: string): { model: string; sku: string } {
  const [, sku = '', ...model] = name.split('.');
  return { sku, model: model.join('.') };
}

const BAR_CELLS = 24;

/** A bar of tokens: held by batches, allocated to deployments, free. A part that is not zero has at least one cell. */
export function bar(tokens: { held: number; allocated: number; limit: number }): string {
  const cells = (part: number): number =>
    part <= 0
      ? 0
      : Math.min(BAR_CELLS, Math.max(1, Math.round((part / Math.max(1, tokens.limit)) * BAR_CELLS)));
  const held = cells(tokens.held);
  const allocated = Math.max(held, cells(tokens.allocated));
  return '█'.repeat(held) + '▒'.repeat(allocated - held) + '░'.repeat(BAR_CELLS - allocated);
}
