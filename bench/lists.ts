import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { BATCH_STATUSES } from '../src/contract/batch.ts';
import { parseFilter } from '../src/http/wire/filter.ts';
import type { BatchQuery, FileQuery, StateStore } from '../src/stores/state/ports.ts';
import { openSqliteStore } from '../src/stores/state/sqlite/thread.ts';
import { fillingOf } from './filled-database.ts';
import { median, type Measurement } from './measurement.ts';

const ROWS = Number(process.env['BENCH_ROWS'] ?? 1_000_000);
const LIMIT_MS = 50;
const ROUNDS = 9;
const scope = { resourceId: 'r', actor: 'bench' };

/** Measures the slowest page of 20 of all lists, on a database that a service has after years. */
export async function run(): Promise<Measurement> {
  const ours = await slowestMs(ROWS);
  const rows = ROWS.toLocaleString('en');
  return {
    name: `slowest of ${PAGES.length} list pages, ${rows} batches and files (the yardstick is the limit)`,
    unit: 'ms',
    ours,
    yardstick: LIMIT_MS,
    ratio: ours / LIMIT_MS,
    goal: { ratio: 1, at: 'most' },
  };
}

type Page = (store: StateStore) => Promise<unknown>;

const FILTERS = [
  undefined,
  ...BATCH_STATUSES.map((status) => `status eq '${status}'`),
  "status ne 'completed'",
  "endpoint eq '/completions'",
  "endpoint eq '/embeddings' and status eq 'expired'",
  "input_file_id eq 'file-in-500000'",
  'created_at gt 1600004000',
  'completed_at eq null',
  'completed_at gt 1600004000',
];
const ORDERS = (['created_at', 'completed_at', 'status'] as const).flatMap((field) =>
  (['asc', 'desc'] as const).map((direction) => ({ field, direction })),
);

const PAGES: readonly Page[] = [
  ...FILTERS.flatMap((text) =>
    ORDERS.flatMap((orderBy) =>
      [undefined, 'batch_500000'].map((after): Page => {
        const filter = text === undefined ? {} : { filter: parseFilter(text) };
        const query: BatchQuery = { limit: 20, orderBy, ...filter, ...(after && { after }) };
        return (store) => store.batches.list(scope, query);
      }),
    ),
  ),
  ...(['batch', 'batch_output', 'assistants', undefined] as const).flatMap((purpose) =>
    (['asc', 'desc'] as const).map((order): Page => {
      const query: FileQuery = { limit: 20, order, ...(purpose && { purpose }) };
      return (store) => store.files.list(scope, query);
    }),
  ),
];

async function slowestMs(rows: number): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'offpeak-bench-lists-'));
  const path = join(dir, 'state.db');
  try {
    const store = await openSqliteStore({ path });
    fill(path, rows);
    const slowest: number[] = [];
    for (const page of PAGES) slowest.push(await medianMs(() => page(store)));
    await store.close();
    return Math.max(...slowest);
  } finally {
    await rm(dir, { recursive: true });
  }
}

function fill(path: string, rows: number): void {
  const database = new DatabaseSync(path);
  database.exec('pragma synchronous = off');
  for (const statement of fillingOf({ resourceId: scope.resourceId, batches: rows, files: rows }))
    database.exec(statement);
  database.close();
}

async function medianMs(work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const beganAt = performance.now();
    await work();
    times.push(performance.now() - beganAt);
  }
  return median(times);
}
