import { BATCH_ERRORS_MAX } from '../../contract/batch.ts';
import type { InputFault, InputFaults } from '../../contract/inspection.ts';

/** Keeps the first faults and counts the rest. They come in the order of their lines. */
export class FaultList {
  readonly #data: InputFault[] = [];
  #omitted = 0;

  add(error: InputFault): void {
    if (this.#data.length < BATCH_ERRORS_MAX) this.#data.push(error);
    else this.#omitted++;
  }

  /** Returns null when there are none. */
  result(): InputFaults | null {
    return this.#data.length === 0 ? null : { data: this.#data, omitted: this.#omitted };
  }
}

/** Puts a fault of the whole file before those of its lines. */
export function withFileError(errors: InputFaults | null, first: InputFault): InputFaults {
  const all = [first, ...(errors?.data ?? [])];
  const data = all.slice(0, BATCH_ERRORS_MAX);
  return { data, omitted: (errors?.omitted ?? 0) + all.length - data.length };
}
