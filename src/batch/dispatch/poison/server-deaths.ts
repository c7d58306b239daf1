import type { Backlog, Line } from '../backlog.ts';

/** At most this many lines that were in flight at one death are sent at a time. Of those with more deaths, one is sent. */
const ONCE_MAX = 8;
/** A line that was in flight at this many deaths is the poison line: no line with as many was in flight at the later ones. */
const DEATHS_MAX = 4;

/**
 * Finds the line that fells its model server whenever it is sent (P15). A line that was in flight when a server died is a
 * suspect, whatever form the death took. Suspects are sent last and few at a time: `ONCE_MAX` after their first death, one
 * after more. So fewer are in flight at the next death, until the poison line is found or all are answered.
 */
export class DeathSuspects {
  #once = 0;
  #again = 0;

  /**
   * Whether a ready line became a suspect, which is taken into the backlog's list of suspects, or is found guilty. If
   * suspects were ready like other lines, one of them could take every probe for itself.
   */
  admit(line: Line, backlog: Backlog): 'ready' | 'suspect' | 'guilty' {
    const { trouble } = line;
    if (trouble === null) return 'ready';
    if (trouble.outage?.isDeath) trouble.deaths += 1;
    // An outage that lasts may still turn out to be a death.
    if (trouble.outage?.isDeath || !trouble.outage?.isRunning) trouble.outage = null;
    if (trouble.deaths === 0) return 'ready';
    if (trouble.deaths >= DEATHS_MAX) return 'guilty';
    backlog.deathSuspects.unshift(line);
    return 'suspect';
  }

  /** The index of the suspect that may be sent now; -1: none. */
  next({ deathSuspects }: Backlog): number {
    return deathSuspects.findLastIndex((line) => (isAgain(line) ? this.#again === 0 : this.#once < ONCE_MAX));
  }

  start(line: Line): void {
    if (isAgain(line)) this.#again += 1;
    else if (isOnce(line)) this.#once += 1;
  }

  /** Invariant: the caller calls this before `admit` counts another death. Otherwise `start` and `end` change different counts. */
  end(line: Line): void {
    if (isAgain(line)) this.#again -= 1;
    else if (isOnce(line)) this.#once -= 1;
  }
}

const isOnce = ({ trouble }: Line): boolean => trouble !== null && trouble.deaths === 1;
const isAgain = ({ trouble }: Line): boolean => trouble !== null && trouble.deaths > 1;
