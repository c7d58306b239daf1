import { BATCH_ERRORS_MAX, type BatchEndpoint } from '../../contract/batch.ts';
import type { Dialect } from '../../contract/error.ts';
import type { InputFault, InputFaults, Inspection, UrlLines } from '../../contract/inspection.ts';

/** What of a batch decides over its input. */
export interface Judged {
  readonly endpoint: BatchEndpoint;
  /** Azure lets `/chat/completions` stand for rows that all go to `/responses`; OpenAI does not. */
  readonly dialect: Dialect;
}

/** What is wrong with a line, whichever it is. */
export type FaultOfLine = Omit<InputFault, 'line'>;

/** The faults of a file for a batch: of its lines by themselves, and of those that go elsewhere. Null: there are none. */
export function faultsFor({ errors, urls }: Inspection, batch: Judged): InputFaults | null {
  const url = urlOf(urls, batch);
  return urls
    .filter((lines) => lines.url !== url)
    .reduce<InputFaults | null>(
      (found, lines) => withLines(found, lines, goesElsewhere(lines.url, batch)),
      errors,
    );
}

/** Gives the same fault to every line that has none yet. */
export function withAllOthers(
  found: InputFaults | null,
  { urls }: Inspection,
  batch: Judged,
  fault: FaultOfLine,
): InputFaults | null {
  const inPlace = urls.find(({ url }) => url === urlOf(urls, batch));
  return inPlace ? withLines(found, inPlace, fault) : found;
}

/** Where all lines should go: on Azure, `/chat/completions` also stands for rows that go to `/responses` (contract §4). */
function urlOf(urls: readonly UrlLines[], { endpoint, dialect }: Judged): BatchEndpoint {
  const has = (wanted: BatchEndpoint): boolean => urls.some(({ url }) => url === wanted);
  const standsForOthers = dialect === 'azure' && endpoint === '/chat/completions' && !has(endpoint);
  return standsForOthers && has('/responses') ? '/responses' : endpoint;
}

const goesElsewhere = (url: BatchEndpoint, { endpoint }: Judged): FaultOfLine => ({
  code: 'url_mismatch',
  message: `url '${url}' does not match the endpoint of the batch, '${endpoint}'. Please ensure that all lines have the same url, and that the batch is created with it as its endpoint.`,
  param: 'url',
  openai: {
    code: 'invalid_url',
    message: 'The URL provided for this request does not match the batch endpoint.',
  },
});

/** A line has one fault, the first: where it goes is asked before what its body holds. */
function withLines(found: InputFaults | null, lines: UrlLines, fault: FaultOfLine): InputFaults | null {
  const { data = [], omitted = 0 } = found ?? {};
  const ofFile = data.filter(({ line }) => line === null);
  const byLine = new Map(data.flatMap((one) => (one.line === null ? [] : [[one.line, one] as const])));
  for (const [first, count] of lines.lines) {
    for (let line = first; line < first + count; line++) {
      const before = byLine.get(line);
      const isEarlier = fault.param === 'url' && before?.param?.startsWith('body');
      if (before && !isEarlier) continue;
      byLine.set(line, { ...fault, message: `Line ${line}: ${fault.message}`, line });
    }
  }
  // Those listed are the first: beyond the last one that an earlier list had room for, none of its own is known.
  const all = [...ofFile, ...[...byLine.values()].sort((one, other) => (one.line ?? 0) - (other.line ?? 0))];
  const total = data.length + omitted + lines.requests - lines.faulty;
  if (total === 0) return null;
  const shown = all.slice(0, BATCH_ERRORS_MAX);
  return { data: shown, omitted: total - shown.length };
}
