import type { Scope } from '../../contract/scope.ts';
import type { Log } from '../../core/log.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import { isTransient } from '../transient.ts';
import type { AheadInspector, AheadPass } from '../validate/port.ts';

export interface InspectAheadOptions {
  readonly inspect: AheadInspector;
  /** The store can no longer be trusted: the process must end. */
  readonly onFatal: (error: unknown) => void;
}

/**
 * Saves what the pass over an upload finds, while the upload is answered. Call once the file has its row. A create that
 * comes first shares the pass; where nothing was saved, it makes its own. Never rejects.
 */
export async function saveInspection(
  pass: AheadPass,
  { scope, fileId }: { readonly scope: Scope; readonly fileId: string },
  deps: {
    readonly state: Pick<StateStore, 'files'>;
    readonly log: Log;
    readonly onFatal: InspectAheadOptions['onFatal'];
  },
): Promise<void> {
  try {
    const inspection = await pass.whole();
    if (inspection) await deps.state.files.saveInspection(scope, fileId, inspection);
  } catch (error) {
    if (!isTransient(error)) return deps.onFatal(error);
    deps.log.event('inspection.not_saved', { file: fileId, error: String(error) });
  } finally {
    pass.drop();
  }
}
