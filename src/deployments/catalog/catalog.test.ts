import { describe, expect, test } from 'vitest';

import type { CatalogModel } from '../../contract/catalog.ts';
import { SKUS } from '../../contract/control.ts';
import { createCatalog, ownModel } from './catalog.ts';

const catalog = createCatalog();

describe('the built-in catalog', () => {
  test.each([
    ['gpt-5.4', ['2026-03-05']],
    ['gpt-5.4-mini', ['2026-03-17']],
    ['gpt-5.1', ['2025-11-13']],
    ['gpt-4o', ['2024-11-20', '2024-08-06', '2024-05-13']],
    ['gpt-4o-mini', ['2024-07-18']],
    ['gpt-4', ['turbo-2024-04-09', '0613']],
    ['gpt-35-turbo', ['0125', '1106', '0613']],
  ])('has %s', (name, versions) => {
    expect(catalog.versions(name).map(({ version }) => version)).toEqual(versions);
  });

  test('has one default version of each model', () => {
    for (const name of catalog.names) {
      expect([name, catalog.versions(name).filter(({ isDefault }) => isDefault).length]).toEqual([name, 1]);
    }
  });

  test('matches names exactly', () => {
    for (const name of ['GPT-4o', 'gpt-3.5-turbo', '__proto__', '']) {
      expect(catalog.versions(name)).toEqual([]);
    }
  });

  test.each([
    [
      'gpt-4o',
      '2024-08-06',
      'koreacentral',
      ['GlobalBatch', 'GlobalStandard', 'DataZoneStandard', 'Standard'],
    ],
    ['gpt-4o', '2024-08-06', 'swedencentral', [...SKUS]],
    [
      'gpt-5.4-mini',
      '2026-03-17',
      'swedencentral',
      ['GlobalBatch', 'GlobalStandard', 'DataZoneStandard', 'Standard'],
    ],
    ['gpt-4o', '2024-08-06', 'centralus', [...SKUS]],
    ['gpt-4', '0613', 'eastus', ['GlobalBatch', 'GlobalStandard', 'DataZoneStandard', 'Standard']],
    ['gpt-4', '0613', 'centralus', []],
    [
      'o4-mini',
      '2025-04-16',
      'westeurope',
      ['GlobalBatch', 'GlobalStandard', 'DataZoneStandard', 'Standard'],
    ],
    ['gpt-4o', '2024-08-06', 'atlantis', []],
  ])('offers %s %s in %s as recorded', (name, version, location, skus) => {
    const model = catalog.find(name, version);

    expect(model && catalog.offered(model, location)).toEqual(skus);
  });

  test('the older models take text alone, the newer ones images too', () => {
    const takesImages = (name: string, version: string) =>
      catalog.find(name, version)?.inputs.includes('image');

    expect(takesImages('gpt-4o', '2024-05-13')).toBe(true);
    expect(takesImages('gpt-4', 'turbo-2024-04-09')).toBe(false);
    expect(takesImages('gpt-35-turbo', '0125')).toBe(false);
  });
});

describe('quota', () => {
  test.each([
    ['enterprise', 'GlobalBatch', 'gpt-4o', '2024-08-06', 5e9],
    ['default', 'GlobalBatch', 'gpt-5.4', '2026-03-05', 200e6],
    ['enterprise', 'GlobalBatch', 'gpt-5.4-mini', '2026-03-17', 15e9],
    ['default', 'GlobalBatch', 'gpt-4o-mini', '2024-07-18', 1e9],
    ['monthly', 'DataZoneBatch', 'gpt-4o', '2024-08-06', 30e6],
    ['msdn', 'GlobalBatch', 'gpt-35-turbo', '0125', 2e6],
    ['students', 'GlobalBatch', 'gpt-35-turbo', '0125', 50_000],
    ['students', 'GlobalBatch', 'gpt-4o', '2024-08-06', 0],
    ['enterprise', 'GlobalBatch', 'gpt-4', '0613', 150e6],
    ['enterprise', 'GlobalBatch', 'gpt-4', 'turbo-2024-04-09', 300e6],
    ['unlimited', 'GlobalBatch', 'gpt-4o', '2024-08-06', null],
    ['students', 'GlobalStandard', 'gpt-4o', '2024-08-06', null],
    ['students', 'GlobalBatch', 'llama-3', null, null],
    ['default', 'GlobalBatch', 'gpt-4o', 'gone', 200e6],
  ] as const)('of the offer %s, %s of %s %s is %s', (offer, sku, model, version, tokens) => {
    const withOwn = createCatalog({ impliedModels: ['llama-3'] });

    expect(withOwn.quotaTokens({ offer, sku, model, version })).toBe(tokens);
  });
});

describe('data zones', () => {
  test('are the United States, the European Union, and every other region by itself', () => {
    expect(['eastus2', 'francecentral', 'koreacentral', 'norwayeast', 'lab'].map(catalog.dataZoneOf)).toEqual(
      ['US', 'EU', 'koreacentral', 'norwayeast', 'lab'],
    );
  });

  test('can be extended, and a region moves to the zone that names it', () => {
    const { dataZoneOf } = createCatalog({
      dataZones: { KR: ['koreacentral', 'koreasouth'], EU: ['westus'] },
    });

    expect(['koreasouth', 'westus', 'eastus'].map(dataZoneOf)).toEqual(['KR', 'EU', 'US']);
  });
});

describe('models of the configuration', () => {
  const model = (change: Partial<CatalogModel>): CatalogModel => ({
    ...ownModel('gpt-4o'),
    isDefault: false,
    ...change,
  });

  test('replace those of the same name and version, and leave the others', () => {
    const one = model({ version: '2024-08-06', inputs: ['text'] });

    const changed = createCatalog({ models: [one] });

    expect(changed.find('gpt-4o', '2024-08-06')).toEqual(one);
    expect(changed.versions('gpt-4o')).toHaveLength(3);
    expect(changed.defaultVersion('gpt-4o')?.version).toBe('2024-11-20');
  });

  test('have the quota of their other versions where they name none', () => {
    const changed = createCatalog({
      models: [
        model({ version: '2027-01-01' }),
        model({ version: '2027-02-02', quotaTokens: { GlobalBatch: { msdn: 7_000 } } }),
      ],
    });
    const quota = (version: string, offer: 'msdn' | 'default') =>
      changed.quotaTokens({ offer, sku: 'GlobalBatch', model: 'gpt-4o', version });

    expect(quota('2027-01-01', 'msdn')).toBe(90_000);
    expect([quota('2027-02-02', 'msdn'), quota('2027-02-02', 'default')]).toEqual([7_000, 0]);
  });

  test('take over the default', () => {
    const changed = createCatalog({ models: [model({ version: '2027-01-01', isDefault: true })] });

    expect(changed.defaultVersion('gpt-4o')?.version).toBe('2027-01-01');
    expect(changed.versions('gpt-4o').filter(({ isDefault }) => isDefault)).toHaveLength(1);
  });

  test('always leave one default', () => {
    const changed = createCatalog({ models: [model({ version: '2024-11-20' }), model({ name: 'own' })] });

    expect(changed.defaultVersion('gpt-4o')?.version).toBe('2024-11-20');
    expect(changed.defaultVersion('own')).toMatchObject({ version: null, isDefault: true });
  });

  test('that are only named are the operator’s own: everywhere, without a version or a quota', () => {
    const changed = createCatalog({ impliedModels: ['llama-3', 'gpt-4o'] });
    const own = changed.find('llama-3', null);

    expect(own && changed.offered(own, 'my-cellar')).toEqual(SKUS);
    expect(changed.versions('gpt-4o')).toHaveLength(3);
  });
});
