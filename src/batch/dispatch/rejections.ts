import { modelOf } from '../../upstream/port.ts';
import type { Backlog, HeldRejection } from './backlog.ts';
import type { BatchRoute } from './batch-route.ts';

/** When this many lines are rejected in the same words, and none is accepted, the rejections are about the set-up. */
const REJECTIONS_ALIKE = 20;

/** What held rejections are about, as far as that is known. */
interface Judgement {
  /** These are about single requests. */
  readonly lines: readonly HeldRejection[];
  /** These are about the model, the account or the address. */
  readonly setUp: readonly HeldRejection[];
}

/** Judges the held rejections of a batch, those of each upstream by themselves. */
export function judgeRejections(backlog: Backlog): Judgement {
  const lines: HeldRejection[] = [];
  const setUp: HeldRejection[] = [];
  for (const [batchRoute, held] of Map.groupBy(backlog.held, (rejection) => rejection.batchRoute)) {
    const about = isAcceptedElsewhere(backlog, batchRoute) ? 'set-up' : aboutOf(held, backlog);
    if (about !== null) (about === 'lines' ? lines : setUp).push(...held);
  }
  return { lines, setUp };
}

/** Whether another upstream of the batch has accepted requests, and this one none yet. */
export const isAcceptedElsewhere = (backlog: Backlog, batchRoute: BatchRoute): boolean =>
  !batchRoute.route.isProven && backlog.routes.some(({ route }) => route.isProven);

function aboutOf(held: readonly HeldRejection[], backlog: Backlog): 'lines' | 'set-up' | null {
  const [first] = held;
  if (first === undefined) return null;
  if (backlog.rejectsSingly || held.some(isAcceptedSince)) return 'lines';
  const words = wordsOf(first);
  if (held.some((rejection) => wordsOf(rejection) !== words)) return 'lines';
  if (contradictsModelList(first) || held.length >= REJECTIONS_ALIKE) return 'set-up';
  const isAll =
    backlog.isExhausted &&
    backlog.modelProbes === 0 &&
    backlog.inFlight === 0 &&
    backlog.waiting === 0 &&
    backlog.ready.length + backlog.crashSuspects.length + backlog.deathSuspects.length === 0;
  return isAll ? 'lines' : null;
}

/** Whether some request was accepted there meanwhile. */
const isAcceptedSince = ({ line, batchRoute }: HeldRejection): boolean =>
  line.trouble !== null && batchRoute.route.acceptedStartedAtMs > line.trouble.failedAtMs;

/** The text without its numbers and ids, which differ from reply to reply. */
const wordsOf = ({ failure }: Pick<HeldRejection, 'failure'>): string =>
  failure.text.replaceAll(/\b[0-9a-f-]*\d[0-9a-f-]*\b/gi, '#');

/** The request asks for what its model cannot do. */
const MODEL_LACKS =
  /\b(this|the) model (does not|doesn't|cannot|can't)\b|\b(with|by|for|on) (this|the|your) model\b/i;

/** Whether the server lists models without this one, and its reply speaks of a model. */
function contradictsModelList({ line, failure, batchRoute }: HeldRejection): boolean {
  const { models } = batchRoute.server;
  const model = batchRoute.upstream.model || modelOf(line);
  if (models === null || models.length === 0) return false;
  const isSame = (listed: string) => listed === model || listed.startsWith(`${model}:`);
  if (models.some(isSame)) return false;
  if (MODEL_LACKS.test(failure.text)) return false;
  return /\bmodel/i.test(failure.text) || [model, ...models].some((name) => failure.text.includes(name));
}

/** Whether a rejection says again what holds the batch back. Rejections of its last lines are about those lines. */
export function isSameRejection(
  { failure, batchRoute: { heldBack } }: Pick<HeldRejection, 'failure' | 'batchRoute'>,
  backlog: Backlog,
): boolean {
  if (backlog.isTail || failure.kind !== 'rejected' || heldBack?.failure.kind !== 'rejected') return false;
  return wordsOf(heldBack) === wordsOf({ failure });
}
