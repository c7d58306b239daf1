import type { StateStore } from '../../../src/stores/state/ports.ts';

/** An empty database for one test. */
export interface Home {
  /** Opens the store on it; the test may close it and open it again. */
  open(): Promise<StateStore>;
  /** The test is over: closes the store, or keeps it for the next test. */
  leave(store: StateStore): Promise<void>;
}

/** What each part of the suite gets. */
export interface Subject {
  readonly store: StateStore;
  /** Closes the store and opens it again. */
  reopen(): Promise<StateStore>;
}
