import { sql } from 'kysely';

import type { Db } from './database.ts';

/** A migration: each page of a list is read from one place of an index, however long the history is. */
export async function indexLists(db: Db): Promise<void> {
  const lists = {
    batches_by_status: ['status', 'endpoint', 'created_at', 'seq'],
    batches_by_completion: ['status', 'endpoint', 'completed_at', 'seq'],
    batches_by_input: ['input_file_id', 'created_at', 'seq'],
  };
  for (const [name, columns] of Object.entries(lists))
    await db.schema
      .createIndex(name)
      .on('batches')
      .columns(['resource_id', ...columns])
      .execute();
  await db.schema
    .createIndex('files_by_purpose')
    .on('files')
    .columns(['resource_id', 'purpose', 'created_at', 'seq'])
    .execute();
  await db.schema.dropIndex('files_inputs').execute();
  await db.schema
    .createIndex('files_inputs')
    .on('files')
    .columns(['resource_id', 'expires_at'])
    .where(sql<boolean>`purpose <> 'batch_output'`)
    .execute();
}
