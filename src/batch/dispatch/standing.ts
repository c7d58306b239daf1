import { mayBeDown, type FailureKind, type FailureReading } from '../../serving/reading.ts';
import type { Route } from '../../serving/route.ts';
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
export class Standing {
  readonly upstream: Upstream;
  readonly route: Route;
  /** Calls of the batch under way here. */
  inFlight = 0;
  #heldBack: { readonly atMs: number; readonly reading: FailureReading; readonly sinceMs: number } | null =
    null;
  /** The run of lines that fail alike: since when, and which. */
  #alike: { readonly kind: FailureKind; readonly sinceMs: number; readonly lines: Set<number> } | null = null;

  constructor(upstream: Upstream, route: Route) {
    this.upstream = upstream;
    this.route = route;
  }

  /** Why it is held back, and since when (wall clock); null: it is not. */
  get heldBack(): { readonly reading: FailureReading; readonly sinceMs: number } | null {
    if (this.#heldBack !== null && this.route.acceptedStartedAtMs > this.#heldBack.atMs)
      this.#heldBack = null;
    return this.#heldBack;
  }

  /** As `Server.readiness`, and for the batch. `isProven`: it had a line accepted; `isAlone`: it can go nowhere else. */
  readiness(
    nowMs: number,
    { isProven, isAlone }: { readonly isProven: boolean; readonly isAlone: boolean },
  ): 'request' | 'probe' | 'route-probe' | 'full' | number | null {
    const { route, heldBack } = this;
    const readiness = route.server.readiness(nowMs);
    // Probes are few, and go out though others have the window to themselves.
    const isOpen = readiness === 'request' || (readiness === 'full' && heldBack !== null);
    if (!isOpen) return readiness;
    if (heldBack !== null) {
      const { kind, names } = heldBack.reading;
      const answers = names !== 'account' && !mayBeDown(kind);
      const probing = route.probing(nowMs, isProven && isAlone && answers ? PROBES_TOGETHER : 1);
      return probing === 'probe' ? 'route-probe' : probing;
    }
    // Others are held back here: a batch of which nothing is known yet shows with one line whether it is, too.
    if (route.isClosed && !isProven && this.inFlight > 0) return null;
    return readiness;
  }

  /** Returns whether it is held back from now on. */
  noteFailure(
    reading: FailureReading,
    call: {
      readonly line: number;
      readonly nowMs: number;
      readonly wallMs: number;
      readonly isProven: boolean;
      /** Lines that are left, when all of them have failed; else null. */
      readonly failingLines: number | null;
    },
  ): boolean {
    const { kind } = reading;
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
    const isLikeOthers = this.route.isClosed && (!call.isProven || call.failingLines !== null);
    if (alike.lines.size < enough && !isLikeOthers) return false;
    return this.holdBack(reading, call);
  }

  /** Its last lines space their tries themselves. */
  free(): void {
    this.#heldBack = null;
    this.#alike = null;
  }

  holdBack(
    reading: FailureReading,
    { nowMs, wallMs }: { readonly nowMs: number; readonly wallMs: number },
  ): boolean {
    const before = this.heldBack;
    this.#heldBack = { atMs: nowMs, reading, sinceMs: before?.sinceMs ?? wallMs };
    this.route.close(nowMs, reading);
    return before === null;
  }
}

/** How a call is made: freely, or to find out whether a server, or what holds a batch back at a route, is well again. */
export type CallKind = 'request' | 'probe' | 'route-probe';

/** The least loaded upstream that takes a line of the batch now; otherwise when to look again (Infinity: on news). */
export function chooseStanding(
  { standings, isProven }: { readonly standings: readonly Standing[]; readonly isProven: boolean },
  { nowMs, onPlace }: { readonly nowMs: number; readonly onPlace: () => void },
):
  | { readonly standing: Standing; readonly kind: CallKind }
  | { readonly standing: null; readonly atMs: number } {
  let best: Standing | null = null;
  let atMs = Number.POSITIVE_INFINITY;
  const isAlone = standings.every((standing) => standing.heldBack !== null);
  for (const standing of standings) {
    const readiness = standing.readiness(nowMs, { isProven, isAlone });
    if (readiness === null) continue;
    const { server } = standing.route;
    if (typeof readiness === 'number') atMs = Math.min(atMs, readiness);
    else if (readiness === 'full') server.waitForPlace(onPlace);
    // A probe goes first: it is one request, and finds out whether more can go there.
    else if (readiness !== 'request') return { standing, kind: readiness };
    else if (best === null || server.inFlight < best.route.server.inFlight) best = standing;
  }
  return best === null ? { standing: null, atMs } : { standing: best, kind: 'request' };
}
