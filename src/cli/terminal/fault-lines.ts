import { grouped } from './print.ts';

/** Nobody reads more, and more would push the first one off the screen. */
const FAULTS_SHOWN_MAX = 20;

/** The first faults, how many more there are, and how to see them. `omitted` counts faults that were not kept. */
export function firstFaults(
  lines: readonly string[],
  { all, omitted = 0 }: { readonly all: boolean; readonly omitted?: number },
): string[] {
  const shown = all ? lines : lines.slice(0, FAULTS_SHOWN_MAX);
  const hidden = lines.length - shown.length;
  if (hidden === 0 && omitted === 0) return [...shown];
  const how = hidden === 0 ? '' : ': --all prints them, --json too';
  const only = omitted > 0 ? ` (the first ${grouped(lines.length)} are kept)` : '';
  return [...shown, `… and ${grouped(hidden + omitted)} more${how}${how && only}`];
}
