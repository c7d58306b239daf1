import { describe, expect, test } from 'vitest';

import type { Sku } from '../../contract/control.ts';
import { silentLog } from '../../core/log.ts';
import { NO_USAGE, type Upstream, type UpstreamReply, type UpstreamRequest } from '../../upstream/port.ts';
import { createCatalog } from '../catalog/catalog.ts';
import { Fleet } from './fleet.ts';
import type { FleetUpstream, ServingQuery } from './serving.ts';

const { dataZoneOf } = createCatalog();

/** Upstreams that answer when a test says so, and list their events. */
function world() {
  const events: string[] = [];
  const pending: (() => void)[] = [];
  const spec = (name: string, change: Partial<FleetUpstream> = {}): FleetUpstream => ({
    name,
    kind: 'openai',
    region: 'eastus',
    dataZone: 'US',
    models: null,
    onlyFor: null,
    fingerprint: name,
    open(modelThere): Upstream {
      events.push(`open ${name} ${modelThere}`);
      return {
        name,
        server: name,
        model: modelThere,
        call: () =>
          new Promise<UpstreamReply>((resolve) => {
            const body = Buffer.from('{}');
            pending.push(() =>
              resolve({
                kind: 'answer',
                status: 200,
                body,
                requestId: null,
                retryAfterMs: null,
                usage: NO_USAGE,
                fault: null,
              }),
            );
          }),
        probe: async () => ({ kind: 'models', ids: [] }),
        close: async () => void events.push(`close ${name}`),
      };
    },
    ...change,
  });
  return { events, pending, spec, fleet: new Fleet({ dataZoneOf, log: silentLog }) };
}

const query = (change: Partial<ServingQuery> = {}): ServingQuery => ({
  resourceId: 'default',
  deployment: 'batch',
  model: 'gpt-4o',
  sku: 'GlobalBatch',
  location: 'eastus',
  only: null,
  ...change,
});
const names = (upstreams: readonly Upstream[]) => upstreams.map(({ name }) => name);
const request: UpstreamRequest = {
  endpoint: '/chat/completions',
  body: Buffer.from('{"model":"m"}'),
  model: { start: 9, end: 12 },
  idempotencyKey: 'k',
};
const { signal } = new AbortController();

describe('upstreams that serve a deployment', () => {
  test('are those that the SKU allows, in the order of the configuration', () => {
    const { fleet, spec } = world();
    fleet.replace([
      spec('sweden', { region: 'swedencentral', dataZone: 'EU' }),
      spec('east'),
      spec('west', { region: 'westus' }),
    ]);

    const by = (sku: Sku, location = 'eastus') => names(fleet.serving(query({ sku, location })));

    expect(by('GlobalBatch')).toEqual(['sweden', 'east', 'west']);
    expect(by('DataZoneBatch')).toEqual(['east', 'west']);
    expect(by('Standard')).toEqual(['east']);
    expect(by('DataZoneBatch', 'koreacentral')).toEqual([]);
  });

  test('are those that have the model, with their name for it', () => {
    const { fleet, spec, events } = world();
    fleet.replace([
      spec('any'),
      spec('mapped', { models: { 'gpt-4o': 'llama-3-70b' } }),
      spec('other', { models: { 'gpt-4': 'gpt-4' } }),
    ]);

    expect(names(fleet.serving(query()))).toEqual(['any', 'mapped']);
    expect(names(fleet.serving(query({ model: 'constructor' })))).toEqual(['any']);
    expect(events).toEqual(['open any gpt-4o', 'open mapped llama-3-70b', 'open any constructor']);
  });

  test('are those that it names, and its inline ones', () => {
    const { fleet, spec } = world();
    fleet.replace([
      spec('shared'),
      spec('other'),
      spec('own', { onlyFor: { resourceId: 'default', deployment: 'batch' } }),
    ]);

    expect(names(fleet.serving(query()))).toEqual(['shared', 'other', 'own']);
    expect(names(fleet.serving(query({ only: ['own', 'other'] })))).toEqual(['other', 'own']);
    expect(names(fleet.serving(query({ deployment: 'another' })))).toEqual(['shared', 'other']);
    expect(names(fleet.serving(query({ resourceId: 'another' })))).toEqual(['shared', 'other']);
  });

  test('are the same objects as long as nothing changes', () => {
    const { fleet, spec, events } = world();
    fleet.replace([spec('a'), spec('b')]);

    const [first, again, other] = [
      fleet.serving(query()),
      fleet.serving(query()),
      fleet.serving(query({ deployment: 'other' })),
    ];

    expect(again[0]).toBe(first[0]);
    expect(other[1]).toBe(first[1]);
    expect(events).toEqual(['open a gpt-4o', 'open b gpt-4o']);
  });
});

describe('a new configuration', () => {
  test('keeps upstreams open that are reached in the same way, even when their order or models change', () => {
    const { fleet, spec, events } = world();
    fleet.replace([spec('a'), spec('b')]);
    const [a] = fleet.serving(query());

    fleet.replace([spec('b'), spec('a', { models: { 'gpt-4o': 'gpt-4o' } })]);

    expect(fleet.serving(query())[1]).toBe(a);
    expect(events).toEqual(['open a gpt-4o', 'open b gpt-4o']);
  });

  test.each([
    ['is reached in another way', { fingerprint: 'another key' }],
    ['moves to another region', { region: 'westus' }],
    ['moves to another data zone', { dataZone: 'EU' }],
  ])('replaces what %s, and sends nothing more to what it was', async (_, change) => {
    const { fleet, spec } = world();
    fleet.replace([spec('a')]);
    const [before] = fleet.serving(query());

    fleet.replace([spec('a', change)]);

    expect(fleet.serving(query())[0]).not.toBe(before);
    expect(await before!.call(request, signal)).toMatchObject({ kind: 'failure', reason: 'unreachable' });
  });

  test('closes upstreams that it leaves out after their last call, and sends nothing new there', async () => {
    const { fleet, spec, events, pending } = world();
    fleet.replace([spec('a')]);
    const [a] = fleet.serving(query());
    const call = a!.call(request, signal);

    fleet.replace([]);

    expect(await a!.call(request, signal)).toMatchObject({ kind: 'failure', reason: 'unreachable' });
    expect(events).not.toContain('close a');
    pending[0]!();
    expect(await call).toMatchObject({ kind: 'answer' });
    await fleet.close();
    expect(events).toEqual(['open a gpt-4o', 'close a']);
  });

  test('closing the fleet closes all that is open, once', async () => {
    const { fleet, spec, events } = world();
    fleet.replace([spec('a'), spec('b')]);
    fleet.serving(query());

    await fleet.close();
    await fleet.close();

    expect(events.filter((event) => event.startsWith('close'))).toEqual(['close a', 'close b']);
  });

  test('with the same upstream twice is a broken invariant', () => {
    const { fleet, spec } = world();

    expect(() => fleet.replace([spec('a'), spec('a')])).toThrow('the same');
  });
});
