import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Clients } from './clients.ts';
import type { SoakService } from './service.ts';

type Sample = Readonly<Record<Figure, number>> & { readonly batches: number };

const FIGURES = {
  'resident memory, MiB': async ({ pid }: SoakService) =>
    Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024,
  'open files': async ({ pid }: SoakService) => (await readdir(`/proc/${pid}/fd`)).length,
  'data directory, MiB': async ({ dataDir }: SoakService) => (await weigh(dataDir)).bytes / 2 ** 20,
  'database, MiB': async ({ database }: SoakService) => (await stat(database)).size / 2 ** 20,
  'blob directories': async ({ dataDir }: SoakService) => (await weigh(join(dataDir, 'blobs'))).directories,
  'rows of batches': (service: SoakService) => rowsOf(service, 'batches'),
  'rows of files': (service: SoakService) => rowsOf(service, 'files'),
  'rows of results': (service: SoakService) => rowsOf(service, 'results'),
  'rows of audit': (service: SoakService) => rowsOf(service, 'audit'),
  'idempotency keys': (service: SoakService) => rowsOf(service, 'idempotency_keys'),
  'list of 20 batches, ms': (service: SoakService) => msOf(service, '/batches?limit=20'),
  'list of 100 files, ms': (service: SoakService) => msOf(service, '/files?limit=100'),
} as const;
type Figure = keyof typeof FIGURES;

/** The first part of a run fills caches and grows heaps to their size. */
const WARM_UP = 0.25;

/** Samples figures that may grow while a service works. */
export class Figures {
  readonly #service: SoakService;
  readonly #samples: Sample[] = [];
  constructor(service: SoakService) {
    this.#service = service;
  }

  async sample(batches: number): Promise<void> {
    const names = Object.keys(FIGURES) as Figure[];
    const values = await Promise.all(names.map((name) => FIGURES[name](this.#service)));
    const read = Object.fromEntries(names.map((name, index) => [name, values[index] ?? NaN]));
    this.#samples.push({ ...(read as Record<Figure, number>), batches });
  }

  /** For each figure after the warm-up: the first, last and highest value, and the slope per 1,000 batches. */
  rows(): string[][] {
    const samples = this.#samples.slice(Math.floor(this.#samples.length * WARM_UP));
    return (Object.keys(FIGURES) as Figure[]).map((name) => {
      const values = samples.map((sample) => sample[name]);
      const slope = slopeOf(samples.map(({ batches }, index) => [batches / 1_000, values[index] ?? 0]));
      return [name, ...[values[0], values.at(-1), Math.max(...values), slope].map(shown)];
    });
  }
}

const shown = (value: number | undefined): string =>
  value === undefined || !Number.isFinite(value) ? '–' : value.toFixed(Math.abs(value) < 100 ? 1 : 0);

/** The slope by least squares. */
function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (of: 0 | 1) => points.reduce((sum, point) => sum + point[of], 0) / points.length;
  const [x0, y0] = [mean(0), mean(1)];
  const spread = points.reduce((sum, [x]) => sum + (x - x0) ** 2, 0);
  return points.reduce((sum, [x, y]) => sum + (x - x0) * (y - y0), 0) / spread;
}

async function weigh(dir: string): Promise<{ bytes: number; directories: number }> {
  let [bytes, directories] = [0, 0];
  // A file that is removed during the walk counts as nothing.
  for (const entry of await readdir(dir, { withFileTypes: true }).catch(() => [])) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) {
      const inner = await weigh(path);
      bytes += inner.bytes;
      directories += inner.directories + 1;
    } else bytes += (await stat(path).catch(() => ({ size: 0 }))).size;
  }
  return { bytes, directories };
}

async function rowsOf({ database }: SoakService, table: string): Promise<number> {
  const reader = new DatabaseSync(database, { readOnly: true, timeout: 5_000 });
  try {
    return Number(reader.prepare(`select count(*) as n from ${table}`).get()?.['n']);
  } finally {
    reader.close();
  }
}

async function msOf(service: SoakService, path: string): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const beganAt = performance.now();
    await (await service.fetch(path)).text();
    times.push(performance.now() - beganAt);
  }
  return times.sort((a, b) => a - b)[2] ?? NaN;
}

export function report({
  minutes,
  figures,
  clients,
  service,
}: {
  readonly minutes: number;
  readonly figures: Figures;
  readonly clients: Clients;
  readonly service: SoakService;
}): string {
  const broken = clients.verdict();
  const head = ['', 'first', 'last', 'highest', 'per 1,000 batches'];
  const rows = [head, ...figures.rows()];
  const widths = head.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0)));
  const table = rows.map((row) =>
    row
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  '),
  );
  return [
    `${minutes.toFixed(1)} minutes: ${clients.summary()}`,
    `${service.summary()}; ${clients.count.errorLines} lines in error files`,
    `after the first ${WARM_UP * 100} % of the run:`,
    '',
    ...table,
    '',
    ...(broken.length === 0 ? ['No promise was broken.'] : ['BROKEN:', ...broken]),
  ].join('\n');
}
