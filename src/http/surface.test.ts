import { describe, expect, test } from 'vitest';
import { CLASSIC_VERSIONS, resolveTarget } from './surface.ts';

describe('a URL', () => {
  test.each([
    ['/openai/v1/batches', 'azure', '/wire/batches'],
    ['/openai/v1/batches?limit=2', 'azure', '/wire/batches?limit=2'],
    ['/openai/v1', 'azure', '/wire'],
    ['/v1/files/f/content', 'openai', '/wire/files/f/content'],
    ['/openai/files?api-version=2024-10-21', 'azure', '/wire/files?api-version=2024-10-21'],
    ['/openai/deployments/d/batches?api-version=2024-10-21', 'azure', '/wire/batches?api-version=2024-10-21'],
    [
      '/openai/deployments/d/batches/b/cancel?api-version=2024-10-21',
      'azure',
      '/wire/batches/b/cancel?api-version=2024-10-21',
    ],
    [
      '/openai/deployments/d/chat/completions?api-version=2024-10-21',
      'azure',
      '/wire/deployments/d/chat/completions?api-version=2024-10-21',
    ],
    [
      '/openai/deployments/d/batchesque?api-version=2024-10-21',
      'azure',
      '/wire/deployments/d/batchesque?api-version=2024-10-21',
    ],
    ['/batches?api-version=2024-10-01-preview', 'azure', '/wire/batches?api-version=2024-10-01-preview'],
    ['//openai//v1///batches', 'azure', '/wire/batches'],
  ])('%s is of the %s dialect and routed as %s', (url, dialect, routed) => {
    const target = resolveTarget(url);

    expect(target.surface.dialect).toBe(dialect);
    expect(target.url).toBe(routed);
    expect(target.needsKey).toBe(true);
    expect(target.refusal).toBeUndefined();
  });

  test.each([
    '/wire/batches',
    '/',
    '/favicon.ico',
    '/v1x/batches',
    '/openaiv1',
    'http://host/openai/v1/batches',
    '*',
    '',
  ])('%j leads nowhere', (url) => {
    expect(resolveTarget(url).url).toBe('/nowhere');
  });

  test.each(['/healthz', '/openapi.json', '/docs', '/docs/page.js'])('%s needs no key', (url) => {
    expect(resolveTarget(url)).toMatchObject({ url, needsKey: false });
  });
});

describe('an api-version', () => {
  test('that is missing is answered as a path that does not exist', () => {
    expect(resolveTarget('/openai/batches').refusal).toMatchObject({
      code: 'routeNotFound',
      message: 'Resource not found',
    });
  });

  test.each(['2023-05-15', '2024-10-21-preview', 'v1', '', '2024-10-21%00'])(
    '%j is not supported',
    (version) => {
      const { refusal } = resolveTarget(`/openai/batches?api-version=${version}`);

      expect(refusal?.code).toBe('badRequest');
      expect(refusal?.message).toContain('API version not supported');
    },
  );

  test.each(['', '?api-version=v1', '?api-version=preview', '?limit=3&api-version=preview'])(
    '%j is accepted on the v1 path',
    (query) => {
      expect(resolveTarget(`/openai/v1/batches${query}`).refusal).toBeUndefined();
    },
  );

  test.each(['?api-version=2024-10-21', '?api-version='])('%j is refused on the v1 path', (query) => {
    expect(resolveTarget(`/openai/v1/batches${query}`).refusal).toMatchObject({
      code: 'badRequest',
      message: 'api-version query parameter is not allowed when using /v1 path',
    });
  });

  test('brings what it had', () => {
    const features = CLASSIC_VERSIONS.map((version) => {
      const { surface } = resolveTarget(`/openai/batches?api-version=${version}`);
      return [
        version,
        surface.createStatus,
        surface.filters,
        surface.tokenHeaders,
        surface.fileExpiry,
        surface.outputExpiry,
      ];
    });

    expect(features).toEqual([
      ['2024-07-01-preview', 200, false, false, false, false],
      ['2024-08-01-preview', 200, false, false, false, false],
      ['2024-10-01-preview', 200, true, true, false, false],
      ['2024-10-21', 200, true, true, false, false],
      ['2024-12-01-preview', 201, true, true, false, false],
      ['2025-01-01-preview', 201, true, true, false, false],
      ['2025-03-01-preview', 201, true, true, true, false],
      ['2025-04-01-preview', 201, true, true, true, true],
    ]);
  });
});
