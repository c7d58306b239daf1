import type { Clock } from '../core/clock.ts';
import type { Log } from '../core/log.ts';

const EVERY_MS = 60_000;
/** Fewer retries in a minute are normal for a network. */
const RETRIES_MIN = 10;

/** Sums up the retries of each upstream, so that a storm is one line of the log a minute and not thousands. */
export class RetryStorms {
  readonly #clock: Pick<Clock, 'mono'>;
  readonly #log: Log;
  readonly #reasons = new Map<string, Map<string, number>>();
  #sinceMs: number;

  constructor({ clock, log }: { readonly clock: Pick<Clock, 'mono'>; readonly log: Log }) {
    this.#clock = clock;
    this.#log = log;
    this.#sinceMs = clock.mono();
  }

  /** `reason` is a few words, such as `429`. Equal reasons are counted together. */
  note({ upstream, reason }: { readonly upstream: string; readonly reason: string }): void {
    const reasons = this.#reasons.get(upstream) ?? new Map<string, number>();
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    this.#reasons.set(upstream, reasons);
  }

  /** Call it often: it logs once a minute. */
  report(): void {
    const durationMs = this.#clock.mono() - this.#sinceMs;
    if (durationMs < EVERY_MS) return;
    for (const [upstream, reasons] of this.#reasons) {
      const counted = [...reasons].sort((a, b) => b[1] - a[1]);
      const retries = counted.reduce((sum, [, count]) => sum + count, 0);
      const reason = counted
        .slice(0, 5)
        .map(([what, count]) => `${count} × ${what}`)
        .join(', ');
      if (retries >= RETRIES_MIN)
        this.#log.event('upstream.retries', {
          upstream,
          retries,
          durationMs: Math.round(durationMs),
          reason,
        });
    }
    this.#reasons.clear();
    this.#sinceMs = this.#clock.mono();
  }
}
