import type { Backlog, Line } from '../backlog.ts';

/** Lines that were under way at one death go this many at a time; those of two or more, one at a time. */
const ONCE_MAX = 8;
/** A line that was under way at so many deaths, alone of its kind at the last ones, is the cause. */
const DEATHS_MAX = 4;

/**
 * Lines that were under way when their server died. One of them may be the cause, whatever form the death took: they are
 * sent last and few at a time, so that the next death is told of fewer, until one is found out or all are answered.
 */
export class DeathSuspects {
  #once = 0;
  #again = 0;

  /**
   * Takes in a line whose server has died with it, now or before: were it ready like others, it could take every probe for
   * itself. `guilty`: it has been found out. False: it has nothing to do with a death.
   */
  admit(line: Line, backlog: Backlog): boolean | 'guilty' {
    const { trouble } = line;
    if (trouble === null) return false;
    if (trouble.outage?.isDeath) trouble.deaths += 1;
    // As long as it lasts, it may yet turn out to be a death.
    if (trouble.outage?.isDeath || !trouble.outage?.isRunning) trouble.outage = null;
    if (trouble.deaths === 0) return false;
    if (trouble.deaths >= DEATHS_MAX) return 'guilty';
    backlog.deathSuspects.unshift(line);
    return true;
  }

  /** The index of the line that may be sent now; -1: none. */
  next({ deathSuspects }: Backlog): number {
    return deathSuspects.findLastIndex((line) => (isAgain(line) ? this.#again === 0 : this.#once < ONCE_MAX));
  }

  start(line: Line): void {
    if (isAgain(line)) this.#again += 1;
    else if (isOnce(line)) this.#once += 1;
  }

  /** Before anything else is noted of the line. */
  end(line: Line): void {
    if (isAgain(line)) this.#again -= 1;
    else if (isOnce(line)) this.#once -= 1;
  }
}

const isOnce = ({ trouble }: Line): boolean => trouble !== null && trouble.deaths === 1;
const isAgain = ({ trouble }: Line): boolean => trouble !== null && trouble.deaths > 1;
