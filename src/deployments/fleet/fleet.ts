import { assert } from '../../core/assert.ts';
import type { Log } from '../../core/log.ts';
import type { Upstream, UpstreamProbe } from '../../upstream/port.ts';
import { eligible, type DataZoneOf, type FleetUpstream, type ServingQuery } from './serving.ts';

/** Every upstream of the present configuration, opened when it is first used. */
export class Fleet {
  readonly #dataZoneOf: DataZoneOf;
  readonly #log: Log;
  #upstreams: readonly FleetUpstream[] = [];
  /** What is open of each upstream: by its identity, and then by the model's name there. */
  #opened = new Map<string, Map<string, OpenUpstream>>();
  readonly #closing = new Set<Promise<void>>();

  constructor(options: { readonly dataZoneOf: DataZoneOf; readonly log: Log }) {
    this.#dataZoneOf = options.dataZoneOf;
    this.#log = options.log;
  }

  get upstreams(): readonly FleetUpstream[] {
    return this.#upstreams;
  }

  /** Keeps upstreams that stay the same open. The others finish their calls, and are closed. */
  replace(upstreams: readonly FleetUpstream[]): void {
    const kept = new Map(upstreams.map((one) => [identityOf(one), this.#opened.get(identityOf(one))]));
    assert(kept.size === upstreams.length, 'two upstreams of the fleet are the same');
    const before = this.#opened;
    this.#upstreams = upstreams;
    this.#opened = new Map([...kept].map(([identity, opened]) => [identity, opened ?? new Map()]));
    for (const [identity, opened] of before) if (!kept.has(identity)) this.#retire(opened);
  }

  /** The upstreams that may serve a deployment, not opened, each with the model's name there. */
  eligible(query: ServingQuery): ReturnType<typeof eligible> {
    return eligible(this.#upstreams, query, this.#dataZoneOf);
  }

  /** The upstreams that serve a deployment, open. They are the same objects as long as nothing changes. */
  serving(query: ServingQuery): readonly Upstream[] {
    return this.eligible(query).map(({ upstream, modelThere }) => {
      const opened = this.#opened.get(identityOf(upstream));
      assert(opened, `upstream '${upstream.name}' is not of the fleet`);
      const known = opened.get(modelThere);
      if (known) return known;
      const open = new OpenUpstream(upstream.open(modelThere));
      opened.set(modelThere, open);
      return open;
    });
  }

  /** Resolves when every call that is in flight has ended. */
  async close(): Promise<void> {
    this.replace([]);
    await Promise.all(this.#closing);
  }

  #retire(opened: ReadonlyMap<string, OpenUpstream>): void {
    for (const open of opened.values()) {
      const closing = open
        .close()
        .catch((error: unknown) =>
          this.#log.event('upstream.unclosed', { upstream: open.name, error: String(error) }),
        )
        .finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
  }
}

/**
 * Invariant: an upstream in another region or zone is another upstream. Otherwise a dispatcher that holds the old one could
 * send it requests that the SKU forbids there.
 */
const identityOf = ({ name, region, dataZone, onlyFor, fingerprint }: FleetUpstream): string =>
  JSON.stringify([name, region, dataZone, onlyFor?.resourceId, onlyFor?.deployment, fingerprint]);

/** An upstream that ends its calls before it closes, and refuses new ones from then on. */
class OpenUpstream implements Upstream {
  readonly name: string;
  readonly server: string;
  readonly model: string;
  readonly #inner: Upstream;
  #inFlight = 0;
  /** It is set when the upstream is to close, and resolves when the last call has ended. */
  #ended: PromiseWithResolvers<void> | undefined;

  constructor(inner: Upstream) {
    this.#inner = inner;
    this.name = inner.name;
    this.server = inner.server;
    this.model = inner.model;
  }

  call(...[request, signal]: Parameters<Upstream['call']>): ReturnType<Upstream['call']> {
    if (this.#ended) return Promise.resolve({ ...TAKEN_OUT, status: null });
    this.#inFlight++;
    const reply = this.#inner.call(request, signal);
    void reply.then(this.#onEnd, this.#onEnd);
    return reply;
  }

  probe(signal: AbortSignal): Promise<UpstreamProbe> {
    if (this.#ended) return Promise.resolve(TAKEN_OUT);
    this.#inFlight++;
    const probe = this.#inner.probe(signal);
    void probe.then(this.#onEnd, this.#onEnd);
    return probe;
  }

  async close(): Promise<void> {
    this.#ended ??= Promise.withResolvers();
    this.#settle();
    await this.#ended.promise;
    await this.#inner.close();
  }

  readonly #onEnd = (): void => {
    this.#inFlight--;
    this.#settle();
  };

  #settle(): void {
    if (this.#inFlight === 0) this.#ended?.resolve();
  }
}

const TAKEN_OUT = {
  kind: 'failure',
  reason: 'unreachable',
  message: 'it was taken out of the configuration',
} as const;
