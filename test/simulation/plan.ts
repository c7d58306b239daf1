import type { WhenFull } from '../../src/contract/control.ts';
import type { Dialect } from '../../src/contract/error.ts';
import { Rng } from './rng.ts';
import { makeListings, makeTroubles, shareServers, strike } from './blame-plan.ts';
import type { Mishap } from './replies.ts';
import { WELL, type Fate, type Listing, type Outage } from './sim-upstream.ts';

/** Everything that chance decides before a history begins: what people ask for, what the servers do, what breaks. */
export interface Plan {
  readonly seed: number;
  readonly tuning: Tuning;
  readonly deployments: readonly DeploymentPlan[];
  readonly jobs: readonly Job[];
  readonly outages: readonly Outage[];
  /** The server of each upstream that shares one; others have their own. */
  readonly servers: Readonly<Record<string, string>>;
  /** What servers answer when they are asked for their models, outages left out; else all of them. */
  readonly listings: Readonly<Record<string, Listing>>;
  /** Lines that are well in the end have so few mishaps that only what befalls their server could fail them. */
  readonly isExact: boolean;
  /** What operators do. Of changes that overlap, the last one counts. Each may be left out of a replay. */
  readonly changes: readonly Change[];
  /** They have no order. Each may be left out of a replay. */
  readonly faults: readonly Fault[];
  /** From here on no process ends and no store fails any more; an outage of an upstream may last longer. */
  readonly calmAtMs: number;
}

export const serverOf = ({ servers }: Pick<Plan, 'servers'>, upstream: string): string =>
  servers[upstream] ?? upstream;

/** Limits far below those of production, so that a history reaches odd corners. */
interface Tuning {
  readonly commitGroupMax: number;
  readonly commitLingerMs: number;
  readonly retriesMax: number;
  readonly segmentRequestsMax: number;
  readonly strictWindow: boolean;
  readonly createWaitMs: number;
  readonly tickMs: number;
  readonly storeLatencyMs: number;
  readonly diskLatencyMs: number;
  readonly callTimeoutMs: number;
  /** Of a blob that is being written. */
  readonly blockBytes: number;
}

export interface DeploymentPlan {
  readonly name: string;
  readonly resourceId: string;
  readonly upstreams: readonly string[];
  /** Its name at the servers. */
  readonly model: string;
  readonly concurrencyMax: number;
  readonly enqueuedTokensMax: number;
  /** Of all deployments of a plan: they are in one quota group, over both resources. */
  readonly sharedTokensMax: number | null;
  readonly whenFull: WhenFull;
  readonly latencyMs: readonly [number, number];
}

/** For a while a deployment has fewer upstreams, or a lower limit, or is gone. */
export interface Change {
  readonly deployment: string;
  readonly fromMs: number;
  readonly toMs: number;
  readonly serving: Pick<DeploymentPlan, 'upstreams' | 'concurrencyMax'> | null;
}

/** One caller's work: an upload, a batch over it, perhaps a change of mind. */
export interface Job {
  readonly name: string;
  readonly resourceId: string;
  readonly deployment: string;
  readonly dialect: Dialect;
  readonly atMs: number;
  readonly lines: readonly JobLine[];
  /** The whole file, with blank lines, odd line ends or a fault of its author. */
  readonly text: string;
  readonly hasBadLine: boolean;
  readonly withIdempotencyKey: boolean;
  /** Null: it leaves that to its deployment. */
  readonly whenFull: WhenFull | null;
  readonly cancelAfterMs: number | null;
  readonly deleteInputAfterMs: number | null;
}

export interface JobLine {
  /** What the simulated server knows it by. */
  readonly name: string;
  readonly customId: string;
  readonly body: string;
  readonly fate: Fate;
}

export type Fault =
  /** A process ends at a time, or at the nth call of a port or failpoint, before or after its effect. */
  | {
      readonly kind: 'crash';
      readonly at:
        | { readonly ms: number }
        | { readonly nth: number; readonly of: Point; readonly after: boolean };
      readonly powerCut: boolean;
      readonly downMs: number;
    }
  /** Another process takes over, and this one does not know it and lives on. */
  | { readonly kind: 'zombie'; readonly atMs: number; readonly forMs: number }
  | { readonly kind: 'stop'; readonly atMs: number; readonly drainMs: number; readonly downMs: number }
  | { readonly kind: 'disk_full' | 'busy' | 'slow'; readonly fromMs: number; readonly toMs: number }
  | { readonly kind: 'eio'; readonly of: 'store' | 'disk'; readonly nth: number; readonly after: boolean }
  /** The store did it, but the answer was lost. */
  | { readonly kind: 'lost_answer'; readonly nth: number }
  | { readonly kind: 'clock'; readonly atMs: number; readonly byMs: number };

export type Point = 'store' | 'disk' | 'failpoint';

/** Somewhat more than a line comes to. */
const TOKENS_PER_LINE = 13;
const MINUTE = 60_000;
/** All faults are over. */
const FAULTS_END_MS = 5 * MINUTE;
const HOUR = 60 * MINUTE;

/** What kind of day it is, and how often. */
const WEATHER = [
  [2, 'fair'],
  [10, 'crashes'],
  [4, 'zombies'],
  [4, 'disk'],
  [3, 'outages'],
  [2, 'killer'],
  [2, 'clock'],
  [4, 'everything'],
] as const;
/**
 * On request only. `queue`: there is a crowd in other weathers, too. `blame`: lines, servers, accounts and set-ups that fail in
 * every way.
 */
export type Weather = (typeof WEATHER)[number][1] | 'queue' | 'blame';

/** `asked`: instead of the weather that the seed would draw. */
export function makePlan(seed: number, asked?: Weather): Plan {
  const rng = new Rng(seed).fork('plan');
  const drawn: Weather = rng.weigh(WEATHER);
  const weather = asked ?? drawn;
  const plan = makeOrdinaryPlan(seed, rng, weather);
  return weather === 'blame' ? blame(new Rng(seed).fork('blame'), plan) : plan;
}

/** The ordinary plan of the seed, with who is to blame for what drawn anew. */
function blame(rng: Rng, plan: Plan): Plan {
  const shared = shareServers(rng.fork('servers'), plan.deployments);
  const upstreams = plan.deployments.flatMap((deployment) => deployment.upstreams);
  const servers = [...new Set(upstreams.map((upstream) => serverOf(shared, upstream)))];
  const models = [...new Set(shared.deployments.map(({ model }) => model))];
  const times = new Times(rng.fork('times'), plan.jobs);
  const outages = makeTroubles(rng.fork('troubles'), { servers, models, pickMs: () => times.pick() });
  const chances = rng.fork('chances');
  const fells = chances.chance(0.2);
  const faults = chances.chance(0.2) ? makeCrashes(chances, times, chances.int(1, 2)) : [];
  const retriesMax = fells ? chances.pick([3, 5]) : plan.tuning.retriesMax;
  // A trouble may be held against the line once at its start and once at its end.
  const mishapsMax = fells ? 0 : retriesMax - 2 * outages.length;
  return {
    ...plan,
    ...shared,
    isExact: true,
    outages,
    faults,
    changes: [],
    listings: makeListings(rng.fork('listings'), servers),
    jobs: plan.jobs.map((job, i) => strike(rng.fork(job.name), job, { mishapsMax, fells: fells && i === 0 })),
    // The store is quiet: a batch that waits, waits for a server.
    tuning: { ...plan.tuning, retriesMax, storeLatencyMs: 1, diskLatencyMs: 1, tickMs: 1_000 },
    calmAtMs: Math.max(0, ...faults.map(endOf)),
  };
}

function makeOrdinaryPlan(seed: number, rng: Rng, weather: Weather): Plan {
  const is = (...kinds: Weather[]) => kinds.includes(weather);
  const tuning: Tuning = {
    commitGroupMax: rng.pick([1, 2, 3, 8, 64]),
    commitLingerMs: rng.pick([0, 5, 50]),
    retriesMax: rng.pick([1, 3, 5]),
    segmentRequestsMax: rng.pick([1, 2, 3, 5, 16]),
    strictWindow: is('fair', 'outages') && rng.chance(0.3),
    createWaitMs: rng.pick([0, 100, 30_000]),
    tickMs: rng.pick([1_000, 10_000]),
    storeLatencyMs: rng.pick([0, 1, 3, 20]),
    diskLatencyMs: rng.pick([0, 1, 10]),
    callTimeoutMs: rng.pick([5_000, 60_000]),
    blockBytes: rng.fork('writing').pick([64, 300, 1_000_000]),
  };
  const quota = rng.fork('quota');
  const isCrowded = is('queue') || (!is('killer') && quota.chance(0.3));
  const roomy = makeDeployments(rng.fork('deployments'), quota);
  const killer = is('killer');
  // Spread out, or all at once.
  const spanMs = rng.pick([3_000, 90_000]);
  const jobs = Array.from({ length: rng.int(1, is('everything') ? 6 : 4) }, (_, i) =>
    makeJob(rng.fork(`job${i}`), { index: i, spanMs, deployments: roomy, tuning, killer: killer && i === 0 }),
  );
  const isTight = rng.chance(0.4);
  const isLongDay = isCrowded && quota.chance(is('queue') ? 0.4 : 0.1);
  if (isCrowded) {
    const crowd = { index: 0, spanMs, deployments: roomy, tuning, killer: false };
    jobs.push(...(isLongDay ? makeLongDay(quota, crowd) : makeCrowd(quota, crowd)));
  }
  const deployments =
    isCrowded || isTight
      ? share(
          quota,
          roomy.map((deployment) => tighten(deployment, jobs)),
        )
      : roomy;
  const times = new Times(rng.fork('times'), jobs);
  const chances = rng.fork('faults');
  const faults: Fault[] = [];
  if (is('queue') && chances.chance(0.5)) faults.push(...makeCrashes(chances, times, rng.int(1, 3)));
  if (is('crashes', 'everything')) faults.push(...makeCrashes(chances, times, rng.int(1, 8)));
  if (is('zombies', 'everything')) faults.push(...makeZombies(chances, times));
  if (is('disk', 'everything')) faults.push(...makeDiskFaults(chances, times));
  if (is('clock', 'everything')) faults.push(...makeClockJumps(chances, times));
  const outages = is('outages', 'everything') ? makeOutages(rng.fork('outages'), times, deployments) : [];
  if (isLongDay) outages.push(...makeLongOutage(quota, deployments));
  if (is('outages', 'clock', 'fair') && rng.chance(0.5)) faults.push(...makeCrashes(chances, times, 1));
  // Longer ticks: a tick a second through a day of outage would show nothing new.
  const tickMs = outages.some(({ fromMs, toMs }) => toMs - fromMs > HOUR) ? 10 * MINUTE : tuning.tickMs;
  const changes = makeChanges(rng.fork('changes'), times, deployments);
  const calmAtMs = Math.max(0, ...faults.map(endOf), ...changes.map(({ toMs }) => toMs));
  return {
    seed,
    tuning: { ...tuning, tickMs },
    deployments,
    jobs,
    outages,
    servers: {},
    listings: {},
    isExact: false,
    changes,
    faults,
    calmAtMs,
  };
}

function makeDeployments(rng: Rng, quota: Rng): DeploymentPlan[] {
  const names = rng.chance(0.4) ? ['alpha', 'beta'] : ['alpha'];
  const resources = quota.chance(0.5) ? ['default', 'second'] : ['default', 'default'];
  return names.map((name, i) => ({
    name,
    resourceId: resources[i]!,
    sharedTokensMax: null,
    upstreams: rng.chance(0.2) ? [`${name}-1`, `${name}-2`] : [`${name}-1`],
    model: `model-${name}`,
    concurrencyMax: rng.pick([1, 2, 3, 8]),
    enqueuedTokensMax: 1_000_000,
    whenFull: rng.fork('when full').pick(['fail', 'wait'] as const),
    latencyMs: rng.pick([
      [1, 20],
      [20, 500],
      [100, 3_000],
    ] as const),
  }));
}

function makeChanges(rng: Rng, times: Times, deployments: readonly DeploymentPlan[]): Change[] {
  if (rng.chance(0.6)) return [];
  const own = times.with(rng.fork('times'));
  return Array.from({ length: rng.int(1, 4) }, () => {
    const { name, upstreams, concurrencyMax } = rng.pick(deployments);
    const serving = {
      upstreams: upstreams.filter(() => rng.chance(0.4)),
      concurrencyMax: rng.int(1, concurrencyMax),
    };
    const span = own.within([500, 5_000, 60_000]);
    return { deployment: name, ...span, serving: rng.chance(0.2) ? null : serving };
  });
}

function endOf(fault: Fault): number {
  if ('toMs' in fault) return fault.toMs;
  if (fault.kind === 'zombie') return fault.atMs + fault.forMs;
  return 'atMs' in fault ? fault.atMs : 0;
}

/** Room for the largest of its jobs, but hardly for two. */
function tighten(deployment: DeploymentPlan, jobs: readonly Job[]): DeploymentPlan {
  const lines = jobs.filter((job) => job.deployment === deployment.name).map((job) => job.lines.length);
  return { ...deployment, enqueuedTokensMax: TOKENS_PER_LINE * Math.max(1, ...lines) };
}

/** Dynamic quota: one deployment may use what another leaves idle. */
function share(rng: Rng, deployments: readonly DeploymentPlan[]): DeploymentPlan[] {
  if (rng.chance(0.5)) return [...deployments];
  const all = deployments.reduce((sum, { enqueuedTokensMax }) => sum + enqueuedTokensMax, 0);
  const part = rng.pick([0.4, 1]);
  const factor = rng.pick(part === 1 ? [1, 1.5] : [0.4, 0.5, 1]);
  return deployments.map((deployment) => ({
    ...deployment,
    enqueuedTokensMax: Math.ceil(deployment.enqueuedTokensMax * part),
    sharedTokensMax: rng.chance(0.8) ? Math.ceil(all * factor) : null,
  }));
}

/** More callers than there is room for: most of them wait. */
function makeCrowd(rng: Rng, context: JobContext): Job[] {
  return Array.from({ length: rng.int(3, 9) }, (_, i) => ({
    ...makeJob(rng.fork(`crowd${i}`), { ...context, index: 100 + i }),
    whenFull: rng.weigh([
      [6, 'wait' as const],
      [2, null],
      [1, 'fail' as const],
    ]),
  }));
}

/**
 * A batch that needs all the room waits for a batch that an outage holds up, perhaps of another deployment with the same quota,
 * while small ones come and pass it, until it has waited long enough.
 */
function makeLongDay(rng: Rng, context: JobContext): Job[] {
  const job = (
    index: number,
    atMs: number,
    count: number,
    deployments = context.deployments.slice(0, 1),
  ): Job => ({
    ...makeJob(rng.fork(`day${index}`), { ...context, deployments, index: 200 + index, counts: [count] }),
    atMs,
    cancelAfterMs: null,
    whenFull: 'wait',
  });
  const small = Array.from({ length: rng.int(4, 10) }, (_, i) =>
    job(i + 2, rng.int(20_000, 35 * MINUTE), rng.int(1, 3)),
  );
  const busy = context.deployments.slice(-1);
  return [job(0, 0, context.deployments.length > 1 ? 30 : 12, busy), job(1, 10_000, 30), ...small];
}

interface JobContext {
  readonly index: number;
  readonly spanMs: number;
  readonly deployments: readonly DeploymentPlan[];
  readonly tuning: Tuning;
  readonly killer: boolean;
  /** Of lines. */
  readonly counts?: readonly number[];
}

function makeJob(
  rng: Rng,
  { index, spanMs, deployments, tuning, killer, counts = [1, 2, 5, 12, 30] }: JobContext,
): Job {
  const deployment = rng.pick(deployments);
  const trouble = rng.pick([0, 0.05, 0.3]);
  const count = rng.pick(counts);
  const murderer = killer ? rng.int(0, count - 1) : -1;
  const lines = Array.from({ length: count }, (_, i): JobLine => {
    const name = `${index}:${i}`;
    const text = rng.pick(['', '\\u2028', '한글', '\\"}{', '😀'.repeat(rng.int(1, 9))]);
    const body = `{"model":"${deployment.name}","line":"${name}","n":12345678901234567890,"text":"${text}","messages":[{}]}`;
    const fate =
      i === murderer ? { ...WELL, kills: Number.POSITIVE_INFINITY } : makeFate(rng, trouble, tuning);
    return { name, customId: `${rng.pick(['a', 'ä', '"'])}-${i}`, body, fate };
  });
  const bad = rng.chance(0.06);
  return {
    name: `job${index}`,
    resourceId: deployment.resourceId,
    deployment: deployment.name,
    atMs: rng.int(0, spanMs),
    lines,
    text: makeText(rng, lines, bad),
    hasBadLine: bad,
    withIdempotencyKey: rng.chance(0.7),
    cancelAfterMs:
      !killer && rng.chance(0.2)
        ? rng.weigh([
            [1, 0],
            [2, rng.int(1, 5_000)],
            [1, rng.int(1, MINUTE)],
          ])
        : null,
    whenFull: rng.fork('when full').pick([null, 'fail', 'wait', 'wait'] as const),
    dialect: rng.fork('dialect').pick(['azure', 'azure', 'openai'] as const),
    deleteInputAfterMs: !killer && rng.chance(0.03) ? rng.int(0, 30_000) : null,
  };
}

function makeFate(rng: Rng, trouble: number, { retriesMax }: Tuning): Fate {
  if (rng.chance(trouble / 4)) {
    const mishaps = makeMishaps(rng, retriesMax);
    const status = rng.pick([400, 422, 413, 500]);
    return { ...WELL, mishaps, lastly: { kind: 'status', status, retryAfterMs: null } };
  }
  return { ...WELL, mishaps: rng.chance(trouble) ? makeMishaps(rng, retriesMax) : [] };
}

/** The mishaps are so few that a line which is well in the end must not fail before. */
function makeMishaps(rng: Rng, retriesMax: number): Mishap[] {
  return Array.from({ length: rng.int(1, retriesMax) }, (): Mishap =>
    rng.weigh<Mishap>([
      [4, { kind: 'status', status: 429, retryAfterMs: rng.pick([null, 0, 20, 1_000, 30_000]) }],
      [3, { kind: 'status', status: rng.pick([500, 502, 503, 504, 408, 409]), retryAfterMs: null }],
      [1, { kind: 'status', status: 503, retryAfterMs: 5_000 }],
      [2, { kind: 'reset' }],
      [1, { kind: 'hang' }],
      [1, { kind: 'unreachable' }],
      [1, { kind: 'bad_answer' }],
    ]),
  );
}

function makeText(rng: Rng, lines: readonly JobLine[], bad: boolean): string {
  const end = rng.pick(['\n', '\r\n']);
  const rows = lines.map(({ customId, body }) => {
    const url = rng.pick(['/chat/completions', '/v1/chat/completions']);
    return `{"custom_id":${JSON.stringify(customId)},"method":"POST","url":"${url}","body":${body}}`;
  });
  if (bad) rows.splice(rng.int(0, rows.length), 0, rng.pick(['{', '{}', '[]', rows[0]!]));
  const spaced = rows.flatMap((row) => (rng.chance(0.1) ? ['', row] : [row]));
  return (rng.chance(0.1) ? '\uFEFF' : '') + spaced.join(end) + (rng.chance(0.7) ? end : '');
}

/** Times at which something is going on: mostly soon after a job began. */
class Times {
  readonly #rng: Rng;
  readonly #jobs: readonly Job[];

  constructor(rng: Rng, jobs: readonly Job[]) {
    this.#rng = rng;
    this.#jobs = jobs;
  }

  /** Another seed for all but the jobs. */
  with(rng: Rng): Times {
    return new Times(rng, this.#jobs);
  }

  pick(): number {
    if (this.#rng.chance(0.1)) return this.#rng.int(0, 2 * MINUTE);
    return this.#rng.pick(this.#jobs).atMs + Math.floor(10 ** (1 + 3.5 * this.#rng.next()));
  }

  within(lengthsMs: readonly number[]): { fromMs: number; toMs: number } {
    const fromMs = this.pick();
    return { fromMs, toMs: Math.min(FAULTS_END_MS, fromMs + this.#rng.pick(lengthsMs)) };
  }
}

function makeCrashes(rng: Rng, times: Times, count: number): Fault[] {
  return Array.from({ length: count }, (): Fault => {
    if (rng.chance(0.15)) {
      const drainMs = rng.pick([0, 1_000, 30_000]);
      return { kind: 'stop', atMs: times.pick(), drainMs, downMs: rng.int(0, 5_000) };
    }
    const of = rng.pick(['store', 'store', 'disk', 'failpoint'] as const);
    const nth = rng.int(1, of === 'store' ? 120 : 40);
    return {
      kind: 'crash',
      at: rng.chance(0.3) ? { ms: times.pick() } : { of, nth, after: rng.chance(0.5) },
      powerCut: rng.chance(0.4),
      downMs: rng.weigh([
        [3, rng.int(0, 500)],
        [1, rng.int(0, 30_000)],
      ]),
    };
  });
}

function makeZombies(rng: Rng, times: Times): Fault[] {
  return Array.from({ length: rng.int(1, 3) }, () => ({
    kind: 'zombie',
    atMs: times.pick(),
    forMs: rng.pick([50, 1_000, 20_000, 120_000]),
  }));
}

function makeDiskFaults(rng: Rng, times: Times): Fault[] {
  return Array.from({ length: rng.int(1, 4) }, (): Fault => {
    const span = times.within([200, 5_000, 60_000]);
    return rng.weigh<Fault>([
      [3, { kind: 'disk_full', ...span }],
      [2, { kind: 'busy', ...span }],
      [2, { kind: 'slow', ...span }],
      [2, { kind: 'eio', of: rng.pick(['store', 'disk']), nth: rng.int(1, 60), after: rng.chance(0.5) }],
      [2, { kind: 'lost_answer', nth: rng.int(1, 100) }],
    ]);
  });
}

function makeClockJumps(rng: Rng, times: Times): Fault[] {
  return Array.from({ length: rng.int(1, 4) }, () => ({
    kind: 'clock',
    atMs: times.pick(),
    byMs: rng.pick([26 * HOUR, -26 * HOUR, -5_000, 5_000, -HOUR]),
  }));
}

function makeLongOutage(rng: Rng, deployments: readonly DeploymentPlan[]): Outage[] {
  const [fromMs, toMs] = [rng.int(1, 500), rng.int(20, 40) * MINUTE];
  const upstreams = deployments.slice(-1).flatMap((deployment) => deployment.upstreams);
  return upstreams.map((server) => ({ says: DOWN['503'], server, model: null, fromMs, toMs, listing: null }));
}

function makeOutages(rng: Rng, times: Times, deployments: readonly DeploymentPlan[]): Outage[] {
  return deployments
    .filter(() => rng.chance(0.8))
    .flatMap(({ upstreams }) => {
      const fromMs = times.pick();
      const how = rng.pick(['unreachable', '503', '429', 'silent', '401', '403', '404'] as const);
      // A server that throttles is asked as often as it allows: a day of that is long to simulate.
      const toMs = fromMs + rng.pick([5_000, 2 * MINUTE, 20 * MINUTE, how === '429' ? HOUR / 2 : 30 * HOUR]);
      return upstreams.map((server) => ({
        server,
        model: null,
        fromMs,
        toMs,
        says: DOWN[how],
        listing: null,
      }));
    });
}

const down = (status: number, retryAfterMs: number | null = null): Mishap => ({
  kind: 'status',
  status,
  retryAfterMs,
  words: `down: ${status}`,
});

const DOWN = {
  unreachable: { kind: 'unreachable' },
  silent: { kind: 'timeout' },
  '503': down(503),
  '429': down(429, 5_000),
  '401': down(401),
  '403': down(403),
  '404': down(404),
} as const satisfies Record<string, Mishap>;
