import type { DeploymentPlan, Job, JobLine, Plan } from './plan.ts';
import { OF_A_LINE, OF_A_SERVER, type Mishap } from './replies.ts';
import type { Rng } from './rng.ts';
import type { ServerDeath, Fate, Listing, Outage } from './sim-upstream.ts';

const MINUTE = 60_000;
const THROTTLED_MAX_MS = 20 * MINUTE;

/** Draws which server each upstream stands for: deployments may share one, and a model there. */
export function shareServers(
  rng: Rng,
  deployments: readonly DeploymentPlan[],
): Pick<Plan, 'deployments' | 'servers'> {
  const [first, second] = deployments;
  if (first === undefined || second === undefined || rng.chance(0.4)) return { deployments, servers: {} };
  const model = rng.chance(0.5) ? first.model : second.model;
  return {
    deployments: [first, { ...second, model, latencyMs: first.latencyMs }],
    servers: Object.fromEntries(
      second.upstreams.map((upstream, i) => [upstream, first.upstreams[i] ?? first.upstreams[0]!]),
    ),
  };
}

export function makeListings(rng: Rng, servers: readonly string[]): Record<string, Listing> {
  return Object.fromEntries(
    servers.map((server) => [
      server,
      rng.weigh<Listing>([
        [6, 'models'],
        [1, 'empty'],
        [1, 'others'],
        [1, '404'],
        [1, '500'],
      ]),
    ]),
  );
}

/** Outages at the start, in the middle or at the end. Each hits one model of a server, or all of them. */
export function makeTroubles(
  rng: Rng,
  {
    servers,
    models,
    pickMs,
  }: {
    readonly servers: readonly string[];
    readonly models: readonly string[];
    readonly pickMs: () => number;
  },
): Outage[] {
  return servers.flatMap((server) =>
    Array.from({ length: rng.pick([0, 1, 1, 1, 2]) }, (): Outage => {
      const says = rng.pick(OF_A_SERVER);
      const lengthMs = rng.pick([5_000, 2 * MINUTE, 20 * MINUTE, 120 * MINUTE]);
      const fromMs = rng.chance(0.3) ? 0 : pickMs();
      // A server that throttles is asked as often as it allows: a day of that is long to simulate.
      const isPace = says.kind === 'status' && says.status === 429;
      const toMs = fromMs + (isPace ? Math.min(lengthMs, THROTTLED_MAX_MS) : lengthMs);
      const listing = rng.weigh<Listing | null>([
        [3, null],
        [2, 'models'],
        [1, 'empty'],
        [1, 'others'],
        [1, '500'],
      ]);
      return { server, model: rng.chance(0.25) ? rng.pick(models) : null, fromMs, toMs, says, listing };
    }),
  );
}

/** Some lines, at one place of the batch, get the same failure for ever. The others are well in the end. */
export function strike(
  rng: Rng,
  job: Job,
  options: { readonly mishapsMax: number; readonly fells: boolean },
): Job {
  const count = job.lines.length;
  const struck = placesOf(rng, count);
  const lastly = rng.pick(OF_A_LINE);
  const felling = options.fells ? rng.int(0, count - 1) : -1;
  const lines = job.lines.map((line, i): JobLine => {
    const fate = struck.has(i) ? stricken(rng, lastly) : well(rng, options.mishapsMax);
    return {
      ...line,
      fate: i === felling ? { ...fate, mishaps: [], lastly: null, fells: makeDeath(rng) } : fate,
    };
  });
  return { ...job, lines };
}

function placesOf(rng: Rng, count: number): ReadonlySet<number> {
  const size = Math.min(count, rng.pick([1, 1, 2, 3, 5, 13]));
  const from = (at: number) => new Set(Array.from({ length: size }, (_, i) => at + i));
  switch (rng.pick(['none', 'start', 'middle', 'end', 'scattered', 'all'] as const)) {
    case 'none':
      return new Set();
    case 'start':
      return from(0);
    case 'middle':
      return from(Math.floor((count - size) / 2));
    case 'end':
      return from(count - size);
    case 'scattered':
      return new Set(Array.from({ length: size }, () => rng.int(0, count - 1)));
    case 'all':
      return new Set(Array.from({ length: count }, (_, i) => i));
  }
}

const stricken = (rng: Rng, lastly: Mishap): Fate => ({
  mishaps: [],
  lastly: rng.chance(0.8) ? lastly : rng.pick(OF_A_LINE),
  kills: 0,
  fells: null,
});

/** The mishaps of a line are so few that an outage of its server does not use up its tries as well. */
const well = (rng: Rng, mishapsMax: number): Fate => ({
  mishaps:
    mishapsMax > 0 && rng.chance(0.1)
      ? Array.from({ length: rng.int(1, mishapsMax) }, () => rng.pick(SINGLE))
      : [],
  lastly: null,
  kills: 0,
  fells: null,
});

const SINGLE: readonly Mishap[] = [
  { kind: 'status', status: 500, retryAfterMs: null },
  { kind: 'status', status: 503, retryAfterMs: null },
  { kind: 'status', status: 429, retryAfterMs: 1_000 },
  { kind: 'status', status: 429, retryAfterMs: null },
  { kind: 'fault' },
  { kind: 'bad_answer' },
  { kind: 'reset' },
  { kind: 'timeout' },
  { kind: 'unreachable' },
];

const makeDeath = (rng: Rng): ServerDeath => ({
  form: rng.pick(['reset', '503', 'silent']),
  downMs: rng.pick([3_000, 20_000, 60_000]),
});
