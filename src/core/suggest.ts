/** ` Did you mean 'x'?`, or nothing when no candidate is close. */
export function didYouMean(word: string, candidates: readonly string[]): string {
  const close = closest(word, candidates);
  return close === undefined ? '' : ` Did you mean '${close}'?`;
}

/** The candidate that a typo most likely meant. Case, `-` and `_` make no difference. */
export function closest(word: string, candidates: readonly string[], editsMax = 2): string | undefined {
  const [best] = candidates
    .map((candidate) => ({ candidate, edits: editDistance(bare(word), bare(candidate)) }))
    .filter(({ candidate, edits }) => edits <= Math.min(editsMax, candidate.length / 2))
    .sort((a, b) => a.edits - b.edits);
  return best?.candidate;
}

const bare = (word: string): string => word.toLowerCase().replaceAll(/[-_]/g, '');

/** Levenshtein's distance, a row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
