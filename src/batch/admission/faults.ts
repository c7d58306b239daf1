import { BATCH_ERRORS_MAX, type BatchEndpoint } from '../../contract/batch.ts';
import type { Dialect } from '../../contract/error.ts';
import type { FaultOfLine, InputFaults, Inspection, LineGroup } from '../../contract/inspection.ts';
import { modelMismatch } from '../model-mismatch.ts';

/** The facts of a batch by which its input is judged. */
export interface BatchRules {
  readonly endpoint: BatchEndpoint;
  /** Azure lets `/chat/completions` stand for rows that all go to `/responses`; OpenAI does not. */
  readonly dialect: Dialect;
}

/** The faults that are certain without the deployments: the first model is taken for the right one. */
export function faultsFor(inspection: Inspection, batch: BatchRules): InputFaults | null {
  const matching = matchingGroups(inspection, batch);
  const [first] = matching;
  return matching.reduce(
    (found, group) =>
      first && group.model !== first.model ? withFault(found, group, modelFault(group, first)) : found,
    faultsOfUrls(inspection, batch),
  );
}

/** Returns the faults of single lines, and of lines with another url than the batch. */
export function faultsOfUrls({ errors, groups }: Inspection, batch: BatchRules): InputFaults | null {
  const url = urlOf(groups, batch);
  return groups
    .filter((group) => group.url !== url)
    .reduce<InputFaults | null>((found, group) => withFault(found, group, urlFault(group, batch)), errors);
}

export type NamedGroup = LineGroup & { readonly model: string };

/** The groups that go where the batch goes, and name a model. */
export function matchingGroups({ groups }: Inspection, batch: BatchRules): NamedGroup[] {
  const url = urlOf(groups, batch);
  return groups.flatMap(({ model, ...group }) =>
    group.url === url && model !== null ? [{ ...group, model }] : [],
  );
}

/** The url that all lines should have. On Azure, `/chat/completions` also stands for rows that go to `/responses` (docs/contract.md §4). */
function urlOf(groups: readonly LineGroup[], { endpoint, dialect }: BatchRules): BatchEndpoint {
  const has = (wanted: BatchEndpoint): boolean => groups.some(({ url }) => url === wanted);
  const standsForOthers = dialect === 'azure' && endpoint === '/chat/completions' && !has(endpoint);
  return standsForOthers && has('/responses') ? '/responses' : endpoint;
}

export const modelFault = ({ model }: NamedGroup, right: NamedGroup): FaultOfLine =>
  modelMismatch(model, { name: right.model, line: right.lines[0]?.[0] ?? 0 });

const urlFault = ({ url }: LineGroup, { endpoint }: BatchRules): FaultOfLine => ({
  code: 'url_mismatch',
  message: `url '${url}' does not match the endpoint of the batch, '${endpoint}'. Please ensure that all lines have the same url, and that the batch is created with it as its endpoint.`,
  param: 'url',
  openai: {
    code: 'invalid_url',
    message: 'The URL provided for this request does not match the batch endpoint.',
  },
});

/** Gives a fault to each line that has none. A line has one, its first: where it goes is asked before what its body holds. */
export function withFault(
  found: InputFaults | null,
  group: LineGroup,
  fault: FaultOfLine,
): InputFaults | null {
  const { data = [], omitted = 0 } = found ?? {};
  const ofFile = data.filter(({ line }) => line === null);
  const byLine = new Map(data.flatMap((one) => (one.line === null ? [] : [[one.line, one] as const])));
  for (const [first, count] of group.lines) {
    for (let line = first; line < first + count; line++) {
      const before = byLine.get(line);
      const isEarlier = fault.param === 'url' && before?.param?.startsWith('body');
      if (before && !isEarlier) continue;
      byLine.set(line, { ...fault, message: `Line ${line}: ${fault.message}`, line });
    }
  }
  // The list keeps the first faults. Beyond its last line, only the number of faults is known.
  const all = [...ofFile, ...[...byLine.values()].sort((one, other) => (one.line ?? 0) - (other.line ?? 0))];
  const total = data.length + omitted + group.requests - group.faulty;
  if (total === 0) return null;
  const shown = all.slice(0, BATCH_ERRORS_MAX);
  return { data: shown, omitted: total - shown.length };
}
