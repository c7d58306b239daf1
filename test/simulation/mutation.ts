import type { DatabaseSync } from 'node:sqlite';
import type { EngineOptions } from '../../src/batch/engine.ts';
import type { BlobFs } from '../../src/stores/blobs/fs.ts';
import type { BlobStore } from '../../src/stores/blobs/port.ts';
import type { StateStore } from '../../src/stores/state/ports.ts';
import type { Upstream } from '../../src/upstream/port.ts';

/** Plants one bug, without a change of production code: in the ports of every process, or by triggers in the database. */
export interface Mutation {
  /** Run once on the empty database. */
  readonly schema?: string;
  /** Applied below time and faults: as if the statements of the store were wrong. */
  store?(store: StateStore, database: DatabaseSync): StateStore;
  /** Applied above them: as if the engine called the store in a wrong way. */
  state?(state: StateStore, time: { readonly after: (delayMs: number) => Promise<void> }): StateStore;
  blobs?(blobs: BlobStore): BlobStore;
  fs?(fs: BlobFs): BlobFs;
  /** What an inspection reads of the bytes of its file. */
  inspected?(chunks: readonly Buffer[]): readonly Buffer[];
  upstream?(upstream: Upstream): Upstream;
  /** Changes a class of the engine for as long as the history runs; returns how to undo that. */
  patch?(): () => void;
  /** True: processes do not hear of changes. */
  readonly deafToChanges?: boolean;
  readonly options?: Partial<EngineOptions>;
  hasDiskSpace?(): boolean;
  /** Requests in flight beyond what the plan allows. */
  readonly windowExtra?: number;
}
