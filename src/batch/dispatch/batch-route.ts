import type { BatchEndpoint } from '../../contract/batch.ts';
import { mayBeDown, type FailureKind, type ClassifiedFailure } from '../../serving/failure.ts';
import type { Route } from '../../serving/route.ts';
import type { Server } from '../../serving/server.ts';
import type { Upstream } from '../../upstream/port.ts';

/** When this many different lines fail alike, and none is accepted between, the server or the set-up is at fault. */
const LINES_ALIKE: Readonly<Partial<Record<FailureKind, number>>> = {
  refused: 3,
  unavailable: 3,
  failed: 10,
  silent: 10,
};
/** A batch that had lines accepted needs at least this many, because some of its lines may be refused on their own. */
const LINES_ALIKE_AFTER_SUCCESS = 10;
/** While the server answers, this many probes may be in flight, so that the last lines of a batch all get their tries. */
const PROBES_TOGETHER = 8;

/**
 * One batch on one route. It is in one of two modes:
 *
 * - Free: lines go out as the server allows. Different lines that fail alike, with none accepted between, hold the batch
 *   back.
 * - Held back: one of its lines goes out as a probe now and then, as the route paces probes. A line of any batch that is
 *   accepted on the route frees it.
 *
 * A batch that is held back holds up no other batch, and is free on its other routes.
 */
export class BatchRoute {
  readonly upstream: Upstream;
  readonly server: Server;
  readonly route: Route;
  /** Requests of the batch in flight here. */
  inFlight = 0;
  #heldBack: { readonly atMs: number; readonly failure: ClassifiedFailure; readonly sinceMs: number } | null =
    null;
  /** The lines that fail alike, with none accepted between, and since when (monotonic ms). */
  #alike: { readonly kind: FailureKind; readonly sinceMs: number; readonly lines: Set<number> } | null = null;

  constructor(upstream: Upstream, server: Server, endpoint: BatchEndpoint) {
    this.upstream = upstream;
    this.server = server;
    this.route = server.route(upstream, endpoint);
  }

  /** Why it is held back, and since when (wall clock); null: it is not. */
  get heldBack(): { readonly failure: ClassifiedFailure; readonly sinceMs: number } | null {
    if (this.#heldBack !== null && this.route.acceptedStartedAtMs > this.#heldBack.atMs)
      this.#heldBack = null;
    return this.#heldBack;
  }

  /** As `Server.readiness`, for this batch. `isProven`: one of its lines was accepted. */
  readiness(
    nowMs: number,
    { isProven, isFreeNowhere }: { readonly isProven: boolean; readonly isFreeNowhere: boolean },
  ): 'request' | 'probe' | 'route-probe' | 'full' | number | null {
    const { server, route, heldBack } = this;
    const readiness = server.readiness(nowMs);
    // Probes are few, so they go out though others fill the window.
    const maySend = readiness === 'request' || (readiness === 'full' && heldBack !== null);
    if (!maySend) return readiness;
    if (heldBack !== null) {
      const { kind, names } = heldBack.failure;
      const answers = names !== 'account' && !mayBeDown(kind);
      const probing = route.probeReadiness(nowMs, isProven && isFreeNowhere && answers ? PROBES_TOGETHER : 1);
      return probing === 'probe' ? 'route-probe' : probing;
    }
    // Another batch is held back here. A batch that had no line accepted sends one, which shows whether to hold it back, too.
    if (route.holdsBack && !isProven && this.inFlight > 0) return null;
    return readiness;
  }

  /** Returns whether the batch is held back from now on, and was not before. */
  noteFailure(
    failure: ClassifiedFailure,
    call: {
      readonly line: number;
      readonly nowMs: number;
      readonly wallMs: number;
      readonly isProven: boolean;
      /** Lines that are left, when all of them have failed; else null. */
      readonly failingLines: number | null;
    },
  ): boolean {
    const { kind } = failure;
    const linesMin = LINES_ALIKE[kind];
    if (linesMin === undefined) return false;
    const run = this.#alike;
    const isSame = run !== null && run.kind === kind && this.route.acceptedAtMs < run.sinceMs;
    const alike = isSame ? run : { kind, sinceMs: call.nowMs, lines: new Set<number>() };
    this.#alike = alike;
    alike.lines.add(call.line);
    const many = call.isProven ? Math.max(linesMin, LINES_ALIKE_AFTER_SUCCESS) : linesMin;
    // One line that fails is no evidence against its server. All lines that are left are.
    const enough = Math.min(many, Math.max(2, call.failingLines ?? many));
    // Where another batch is held back already, one line is enough evidence. A batch whose lines have all failed loses nothing
    // when it shares the probes.
    const isLikeOthers = this.route.holdsBack && (!call.isProven || call.failingLines !== null);
    if (alike.lines.size < enough && !isLikeOthers) return false;
    return this.holdBack(failure, call);
  }

  /** Frees the batch without evidence: its last lines are tried at a pace of their own. */
  free(): void {
    this.#heldBack = null;
    this.#alike = null;
  }

  holdBack(
    failure: ClassifiedFailure,
    { nowMs, wallMs }: { readonly nowMs: number; readonly wallMs: number },
  ): boolean {
    const before = this.heldBack;
    this.#heldBack = { atMs: nowMs, failure, sinceMs: before?.sinceMs ?? wallMs };
    this.route.holdBack(nowMs, failure);
    return before === null;
  }
}

/** A `probe` finds out whether a server is back. A `route-probe` finds out whether what holds the batch back is over. */
export type CallKind = 'request' | 'probe' | 'route-probe';

/** Returns the least loaded route that takes a line now. Otherwise `atMs` is when one may. Infinity: a server will call. */
export function chooseRoute(
  { routes, isProven }: { readonly routes: readonly BatchRoute[]; readonly isProven: boolean },
  { nowMs, onPlace }: { readonly nowMs: number; readonly onPlace: () => void },
):
  | { readonly batchRoute: BatchRoute; readonly kind: CallKind }
  | { readonly batchRoute: null; readonly atMs: number } {
  let best: BatchRoute | null = null;
  let atMs = Number.POSITIVE_INFINITY;
  const isFreeNowhere = routes.every((batchRoute) => batchRoute.heldBack !== null);
  for (const batchRoute of routes) {
    const readiness = batchRoute.readiness(nowMs, { isProven, isFreeNowhere });
    if (readiness === null) continue;
    const { server } = batchRoute;
    if (typeof readiness === 'number') atMs = Math.min(atMs, readiness);
    else if (readiness === 'full') server.waitForPlace(onPlace);
    // A probe goes first: it is a single request, and shows whether more can go there.
    else if (readiness !== 'request') return { batchRoute, kind: readiness };
    else if (best === null || server.inFlight < best.server.inFlight) best = batchRoute;
  }
  return best === null ? { batchRoute: null, atMs } : { batchRoute: best, kind: 'request' };
}
