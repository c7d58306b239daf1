/** Runs pieces of work one after another, in the order in which they came. */
export type Exclusive = <T>(work: () => Promise<T>) => Promise<T>;

/** Invariant: one change of the control plane runs at a time. Otherwise two could read the same state and decide on it. */
export function createExclusive(): Exclusive {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work);
    // A failure goes to the caller of that work, and the next work runs all the same.
    last = next.catch(() => {});
    return next;
  };
}
