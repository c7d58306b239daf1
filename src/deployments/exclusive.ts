/** Runs one piece of work after the other, in the order they came. */
export type Exclusive = <T>(work: () => Promise<T>) => Promise<T>;

/** Changes of the control plane read, decide and write: this keeps two of them from doing so at once. */
export function createExclusive(): Exclusive {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work);
    // Whoever asked for the work hears of its failure; the next one does not mind.
    last = next.catch(() => {});
    return next;
  };
}
