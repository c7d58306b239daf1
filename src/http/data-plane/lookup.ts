/** Rows by id, or the error for what is absent. A row of another resource counts as absent. */
import type { Batch } from '../../contract/batch.ts';
import type { Resource } from '../../contract/control.ts';
import { ApiError } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import type { ControlPlane } from '../../deployments/control/port.ts';
import type { StateStore } from '../../stores/state/ports.ts';

export async function findFile(state: StateStore, scope: Scope, id: string): Promise<FileRow> {
  const file = await state.files.get(scope, id);
  if (file === undefined) throw fileNotFound(id);
  return file;
}

export async function findBatch(state: StateStore, scope: Scope, id: string): Promise<Batch> {
  const batch = await state.batches.get(scope, id);
  if (batch === undefined) throw batchNotFound(id);
  return batch;
}

export async function findResource(
  controlPlane: Pick<ControlPlane, 'getResource'>,
  { resourceId }: Scope,
): Promise<Resource> {
  const resource = await controlPlane.getResource(resourceId);
  if (resource !== undefined) return resource;
  throw new ApiError('resourceNotFound', `The resource '${resourceId}' does not exist any more.`);
}

export const fileNotFound = (id: string): ApiError =>
  new ApiError('fileNotFound', `No file with the id '${id}' exists in this resource.`, {
    param: 'id',
    openai: { message: `No such File object: ${id}`, param: 'id' },
  });

export const batchNotFound = (id: string): ApiError =>
  new ApiError('batchNotFound', `No batch with the id '${id}' exists in this resource.`, {
    param: 'id',
    openai: { message: `No batch found with id '${id}'.`, param: null },
  });

export const unknownAfter = (kind: 'file' | 'batch', after: string | undefined): ApiError =>
  new ApiError(
    'invalidValue',
    `Invalid value for 'after': no ${kind} with the id '${after}' exists in this resource.`,
    { param: 'after' },
  );

export interface Page<T> {
  readonly object: 'list';
  readonly data: T[];
  readonly first_id: string | null;
  readonly last_id: string | null;
  readonly has_more: boolean;
}

export const toPage = <T extends { readonly id: string }>(data: T[], hasMore: boolean): Page<T> => ({
  object: 'list',
  data,
  first_id: data.at(0)?.id ?? null,
  last_id: data.at(-1)?.id ?? null,
  // Clients would ask for ever if an empty page said that there is more.
  has_more: hasMore && data.length > 0,
});
