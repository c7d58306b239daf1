import type { Usage } from '../../contract/batch.ts';
import type { Backlog, Line } from './backlog.ts';
import type { BatchRoute, CallKind } from './batch-route.ts';

/** A call that is about to be made, or in flight. */
export interface Call {
  readonly line: Line;
  readonly backlog: Backlog;
  readonly batchRoute: BatchRoute;
  readonly kind: CallKind;
}

/** What becomes the result of a line. */
export interface LineOutcome {
  readonly ok: boolean;
  readonly payload: Uint8Array;
  readonly usage: Usage;
}

/** The transitions that the dispatcher makes for those who judge failures and suspects. */
export interface LineTransitions {
  send(call: Call): void;
  /** The call is over. `failedAtMs`: null when it does not make the next probe wait longer. */
  end(call: Call, failedAtMs: number | null): void;
  /** The line is no longer in flight. */
  leave(backlog: Backlog): void;
  record(line: Line, backlog: Backlog, outcome: LineOutcome): void;
  /** The line did not end this process. Resolves when the note about it is erased. Then it may be sent again. */
  acquit(line: Line): Promise<void>;
  sendReady(): void;
  /** Ends the process when `work` rejects. */
  own(work: Promise<void>): void;
}
