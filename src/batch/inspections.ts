import { ApiError } from '../contract/error.ts';
import type { Inspection } from '../contract/inspection.ts';
import type { Scope } from '../contract/scope.ts';
import type { Clock } from '../core/clock.ts';
import type { FileStore } from '../stores/state/ports.ts';
import { readingInput, type Input, type Inputs } from './inputs.ts';
import type { Inspector } from './validate/port.ts';

interface InspectionDeps {
  readonly files: FileStore;
  readonly inputs: Inputs;
  readonly inspect: Inspector;
  readonly clock: Clock;
  /** The engine stops. */
  readonly signal: AbortSignal;
}

/** What one pass over an input finds. Whoever asks while the pass is being made shares it. */
export class Inspections {
  readonly #deps: InspectionDeps;
  /** The key is the id of the blob. */
  readonly #running = new Map<string, Promise<Inspection>>();

  constructor(deps: InspectionDeps) {
    this.#deps = deps;
  }

  /** Returns the stored inspection, or makes one. Rejects with `InputDamage`, or with the signal's reason. */
  async of(scope: Scope, input: Input): Promise<Inspection> {
    const known = await this.#deps.files.inspection(scope, input.id);
    if (known !== undefined) return known;
    const running = this.#running.get(input.blobId) ?? this.#inspect(scope, input);
    this.#running.set(input.blobId, running);
    return running;
  }

  /** Returns the inspection to a caller, who waits for `waitMs` at most. Undefined: it takes longer. */
  async soon(scope: Scope, input: Input, waitMs: number): Promise<Inspection | undefined> {
    const { clock, signal } = this.#deps;
    const timer = new AbortController();
    const late = clock.sleep(waitMs, timer.signal).catch(() => undefined);
    try {
      return (await Promise.race([this.of(scope, input), late])) ?? undefined;
    } catch (error) {
      throw error === signal.reason ? stopsNow(error) : error;
    } finally {
      timer.abort();
    }
  }

  async #inspect(scope: Scope, { id, blobId }: Input): Promise<Inspection> {
    const { files, inputs, inspect, signal } = this.#deps;
    try {
      await inputs.check(blobId);
      const inspection = await readingInput(() => inspect(blobId, signal));
      await files.saveInspection(scope, id, inspection);
      return inspection;
    } finally {
      this.#running.delete(blobId);
    }
  }
}

const stopsNow = (cause: unknown): ApiError =>
  new ApiError('notReady', 'The service is being stopped. Create the batch again when it is back.', {
    retryAfterS: 5,
    cause,
  });
