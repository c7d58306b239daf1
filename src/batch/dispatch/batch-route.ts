import type { BatchEndpoint } from '../../contract/batch.ts';
import { mayBeDown, type FailureKind, type ClassifiedFailure } from '../../serving/failure.ts';
import type { Route } from '../../serving/route.ts';
import type { Server } from '../../serving/server.ts';
import type { Upstream } from '../../upstream/port.ts';

/** Different lines that fail alike, with none accepted between, and that mean the server or the set-up. */
const LINES_ALIKE: Readonly<Partial<Record<FailureKind, number>>> = {
  refused: 3,
  unavailable: 3,
  failed: 10,
  silent: 10,
};
/** Of a batch that had lines accepted: single ones of its lines may well be refused. */
const LINES_ALIKE_AFTER_SUCCESS = 10;
/** Probes that may be out together while the server answers, so that the last lines of a batch all get their tries. */
const PROBES_TOGETHER = 8;

/**
 * How one batch fares at one endpoint of one upstream. Either its lines go out freely, or it is held back: then a probe
 * goes out now and then, and one accepted line, of whatever batch, frees it. A batch that is held back holds up no other.
 */
export class BatchRoute {
  readonly upstream: Upstream;
  readonly server: Server;
  readonly route: Route;
  /** Calls of the batch under way here. */
  inFlight = 0;
  #heldBack: { readonly atMs: number; readonly failure: ClassifiedFailure; readonly sinceMs: number } | null =
    null;
  /** The run of lines that fail alike: since when, and which. */
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

  /** As `Server.readiness`, and for the batch. `isProven`: it had a line accepted; `isAlone`: it can go nowhere else. */
  readiness(
    nowMs: number,
    { isProven, isAlone }: { readonly isProven: boolean; readonly isAlone: boolean },
  ): 'request' | 'probe' | 'route-probe' | 'full' | number | null {
    const { server, route, heldBack } = this;
    const readiness = server.readiness(nowMs);
    // Probes are few, and go out though others have the window to themselves.
    const isOpen = readiness === 'request' || (readiness === 'full' && heldBack !== null);
    if (!isOpen) return readiness;
    if (heldBack !== null) {
      const { kind, names } = heldBack.failure;
      const answers = names !== 'account' && !mayBeDown(kind);
      const probing = route.probing(nowMs, isProven && isAlone && answers ? PROBES_TOGETHER : 1);
      return probing === 'probe' ? 'route-probe' : probing;
    }
    // Others are held back here: a batch of which nothing is known yet shows with one line whether it is, too.
    if (route.holdsBack && !isProven && this.inFlight > 0) return null;
    return readiness;
  }

  /** Returns whether it is held back from now on. */
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
    // One line says nothing of its server, but all that there are do.
    const enough = Math.min(many, Math.max(2, call.failingLines ?? many));
    // Where others are held back for it already, one line tells as much as three; and who has nothing else to send loses
    // nothing by sharing their probes.
    const isLikeOthers = this.route.holdsBack && (!call.isProven || call.failingLines !== null);
    if (alike.lines.size < enough && !isLikeOthers) return false;
    return this.holdBack(failure, call);
  }

  /** Its last lines space their tries themselves. */
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

/** How a call is made: freely, or to find out whether a server, or what holds a batch back at a route, is well again. */
export type CallKind = 'request' | 'probe' | 'route-probe';

/** The least loaded upstream that takes a line of the batch now; otherwise when to look again (Infinity: on news). */
export function chooseRoute(
  { routes, isProven }: { readonly routes: readonly BatchRoute[]; readonly isProven: boolean },
  { nowMs, onPlace }: { readonly nowMs: number; readonly onPlace: () => void },
):
  | { readonly batchRoute: BatchRoute; readonly kind: CallKind }
  | { readonly batchRoute: null; readonly atMs: number } {
  let best: BatchRoute | null = null;
  let atMs = Number.POSITIVE_INFINITY;
  const isAlone = routes.every((batchRoute) => batchRoute.heldBack !== null);
  for (const batchRoute of routes) {
    const readiness = batchRoute.readiness(nowMs, { isProven, isAlone });
    if (readiness === null) continue;
    const { server } = batchRoute;
    if (typeof readiness === 'number') atMs = Math.min(atMs, readiness);
    else if (readiness === 'full') server.waitForPlace(onPlace);
    // A probe goes first: it is one request, and finds out whether more can go there.
    else if (readiness !== 'request') return { batchRoute, kind: readiness };
    else if (best === null || server.inFlight < best.server.inFlight) best = batchRoute;
  }
  return best === null ? { batchRoute: null, atMs } : { batchRoute: best, kind: 'request' };
}
