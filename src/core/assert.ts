/** A broken invariant is our bug: it is thrown, ends the process, and another start resumes the work. */
export class AssertionError extends Error {
  override name = 'AssertionError';
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}
