/** Parses JSON; undefined: the text is not JSON. */
export function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The caller knows what the text should be, and says so.
  }
}
