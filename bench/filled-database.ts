import { BATCH_ENDPOINTS } from '../src/contract/batch.ts';

/** A service has this after years: so many ended batches of one resource, and so many files. */
export interface Filling {
  readonly resourceId: string;
  readonly batches: number;
  readonly files: number;
}

/** The first of them was made at this time, and one more every ten seconds. */
const SINCE_S = 1_600_000_000;
const EVERY_S = 10;
/** So many files of a hundred are inputs. The others are produced files. */
const INPUTS_PER_HUNDRED = 10;

/**
 * Returns statements that fill an empty database in seconds, the same for SQLite and PostgreSQL. Of a hundred batches 90 are
 * completed, 6 failed, 2 cancelled, 1 expired and 1 was cancelled before it started. Most files are produced files.
 */
export function fillingOf({ resourceId, batches, files }: Filling): string[] {
  const endpoint = `case i % 50 when 0 then '${BATCH_ENDPOINTS[3]}' when 1 then '${BATCH_ENDPOINTS[2]}' else '${BATCH_ENDPOINTS[0]}' end`;
  const createdAt = `${SINCE_S} + i * ${EVERY_S}`;
  const at = (condition: string) => `case when ${condition} then ${createdAt} + 600 + i % 7 end`;
  const numbers = (last: number) =>
    `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${last})`;
  return [
    `insert into batches (id, resource_id, status, endpoint, input_file_id, output_file_id, error_file_id, deployment,
         enqueued_tokens, created_at, expires_at, in_progress_at, completed_at, failed_at, cancelled_at, expired_at,
         total, completed, purged)
       ${numbers(batches)}
       select 'batch_' || i, '${resourceId}',
         case when i % 100 < 90 then 'completed' when i % 100 < 96 then 'failed' when i % 100 = 96 then 'expired'
           else 'cancelled' end,
         ${endpoint}, 'file-in-' || i, 'file-out-' || i, 'file-err-' || i, 'gpt-4o-batch', 0,
         ${createdAt}, ${createdAt} + 86400, ${createdAt} + 1,
         ${at('i % 100 < 90')}, ${at('i % 100 between 90 and 95')}, ${at('i % 100 > 96')}, ${at('i % 100 = 96')},
         case when i % 100 < 90 then 10 else 0 end, case when i % 100 < 90 then 10 else 0 end, 1
       from n`,
    `insert into files (id, resource_id, filename, purpose, bytes, sha256, created_at)
       ${numbers(files)}
       select 'file-' || i, '${resourceId}', 'requests.jsonl',
         case when i % 100 < ${INPUTS_PER_HUNDRED} then 'batch' else 'batch_output' end, 1800,
         'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', ${createdAt}
       from n`,
  ];
}
