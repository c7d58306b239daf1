import type { EventName } from '../../core/events.ts';
import type { Log } from '../../core/log.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import type { UpstreamProbe } from '../../upstream/port.ts';
import type { Fleet } from './fleet.ts';
import { servingQuery, type FleetUpstream } from './serving.ts';

/** The state of an upstream when it was asked for its models. */
export interface UpstreamState {
  readonly name: string;
  readonly state: 'ready' | 'unready' | 'unknown' | 'simulated';
  /** A text for people, such as "answers and lists 3 models". */
  readonly reason: string;
}

const ANSWER_MS = 2_000;

/**
 * Asks each upstream whether it can serve its deployments, unless it was asked for the same models before, and logs the
 * answer. It takes two seconds at most, and changes nothing.
 */
export function createUpstreamCheck(deps: {
  readonly fleet: Fleet;
  readonly store: Pick<StateStore, 'resources' | 'deployments'>;
  readonly log: Log;
}): () => Promise<readonly UpstreamState[]> {
  let known = new Map<string, UpstreamState>();
  const checkAll = async (): Promise<readonly UpstreamState[]> => {
    const uses = await usesOf(deps.fleet, deps.store);
    const states = await Promise.all(
      uses.map(async (use) => {
        const { name, region, onlyFor, fingerprint } = use.upstream;
        const key = JSON.stringify([name, region, onlyFor, fingerprint, use.modelsThere]);
        return [key, known.get(key) ?? (await check(use, deps.log))] as const;
      }),
    );
    known = new Map(states);
    return states.map(([, state]) => state);
  };
  return () =>
    checkAll().catch((error: unknown) => {
      deps.log.event('upstream.unchecked', { error: String(error) });
      return [];
    });
}

interface Use {
  readonly upstream: FleetUpstream;
  /** Names there of the models that deployments ask of it. */
  readonly modelsThere: readonly string[];
}

async function usesOf(
  fleet: Fleet,
  { resources, deployments }: Pick<StateStore, 'resources' | 'deployments'>,
): Promise<Use[]> {
  const asked = new Map<FleetUpstream, Set<string>>(fleet.upstreams.map((one) => [one, new Set()]));
  for (const resource of await resources.list({})) {
    for (const row of await deployments.list({ resourceId: resource.id, actor: 'configuration' })) {
      for (const { upstream, modelThere } of fleet.eligible(servingQuery(resource, row)))
        asked.get(upstream)?.add(modelThere);
    }
  }
  return [...asked].map(([upstream, models]) => ({ upstream, modelsThere: [...models].sort() }));
}

async function check({ upstream, modelsThere }: Use, log: Log): Promise<UpstreamState> {
  const open = upstream.open(modelsThere[0] ?? '');
  const { name } = open;
  const probe = async (expected: readonly string[]): Promise<UpstreamState> => {
    const verdict = judgeProbe(await open.probe(AbortSignal.timeout(ANSWER_MS)), { modelsThere: expected });
    log.event(EVENT[verdict.state], { upstream: name, reason: verdict.reason });
    return { name, ...verdict };
  };
  try {
    switch (upstream.kind) {
      case 'simulator':
        log.event('upstream.simulated', { upstream: name });
        return { name, state: 'simulated', reason: 'answers are simulated' };
      case 'azure':
        // Azure lists the models that it has, and not the deployments that it is asked for.
        return await probe([]);
      case 'openai':
        return await probe(modelsThere);
    }
  } finally {
    await open.close();
  }
}

const EVENT = {
  ready: 'upstream.ready',
  unready: 'upstream.unready',
  unknown: 'upstream.unknown',
} as const satisfies Record<string, EventName>;

/** Judges from a server's answer whether it can serve these models. */
export function judgeProbe(
  probe: UpstreamProbe,
  { modelsThere }: { readonly modelsThere: readonly string[] },
): { readonly state: 'ready' | 'unready' | 'unknown'; readonly reason: string } {
  switch (probe.kind) {
    case 'models': {
      const { ids } = probe;
      if (ids.length === 0) return { state: 'ready', reason: 'answers and lists no models' };
      const listed = `${ids.length} ${ids.length === 1 ? 'model' : 'models'}`;
      // Ollama adds a tag to names that have none.
      const missing = modelsThere.filter((model) => !ids.includes(model) && !ids.includes(`${model}:latest`));
      if (missing.length === 0) return { state: 'ready', reason: `answers and lists ${listed}` };
      return {
        state: 'unready',
        reason: `answers and lists ${listed}, but not ${some(missing)}; it has ${some(ids)}`,
      };
    }
    case 'answer':
      if (probe.status === 401 || probe.status === 403)
        return { state: 'unready', reason: `wants another key: it ${probe.message}` };
      return { state: 'unknown', reason: probe.message };
    case 'failure':
      if (probe.reason === 'aborted')
        return { state: 'unknown', reason: `has not answered within ${ANSWER_MS / 1_000} s` };
      return { state: 'unready', reason: probe.message };
  }
}

const SHOWN_MAX = 5;
const some = (names: readonly string[]): string => {
  const shown = names.slice(0, SHOWN_MAX).map((name) => `'${name.slice(0, 80)}'`);
  return names.length > SHOWN_MAX
    ? `${shown.join(', ')} and ${names.length - SHOWN_MAX} more`
    : shown.join(', ');
};
