import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN_KEY, GROUP, SUBSCRIPTION, startService, type Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

const get = async (path: string, accept?: string) => {
  const answer = await fetch(service.url + path, accept === undefined ? {} : { headers: { accept } });
  return { answer, text: await answer.text() };
};
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

describe('the root', () => {
  test('is a page for people, with links that lead somewhere', async () => {
    const { answer, text } = await get('/', BROWSER);

    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    const links = [...text.matchAll(/<a href="([^"]+)"/g)].map(([, link = '']) => link);
    expect(links).toEqual(expect.arrayContaining(['/docs', '/openapi.json', '/healthz']));
    for (const link of links) expect((await get(link)).answer.status).toBe(200);
  });

  test.each([undefined, '*/*', 'application/json'])('is JSON for programs (%s)', async (accept) => {
    const { answer, text } = await get('/', accept);

    expect([answer.status, answer.headers.get('vary')]).toEqual([200, 'accept']);
    expect(JSON.parse(text)).toMatchObject({
      name: 'Offpeak',
      docs: '/docs',
      openapi: '/openapi.json',
      health: '/healthz',
    });
  });

  test('takes nothing but GET and HEAD', async () => {
    const { status, body } = await service.json('/', { method: 'POST' });

    expect([status, body.error.code]).toEqual([405, '405']);
  });
});

describe('every page', () => {
  test.each(['/', '/docs'])('%s loads from this service alone, and has no inline script', async (path) => {
    const { answer, text } = await get(path, BROWSER);
    const policy = answer.headers.get('content-security-policy') ?? '';

    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain('unsafe');
    expect(text).not.toMatch(/<script(?![^>]* src="\/docs\/page\.js")|<style|\son\w+=|https?:/);
    for (const [, asset = ''] of text.matchAll(/(?:src|href)="(\/[^"]+)"/g))
      expect([asset, (await get(asset)).answer.status]).toEqual([asset, 200]);
  });

  test('tells how to authenticate', async () => {
    const { text } = await get('/docs', BROWSER);

    expect(text).toContain('api-key: KEY');
    expect(text).toContain('Authorization: Bearer KEY');
  });
});

test('every curl line of the control plane that reads is answered as it stands', async () => {
  const { body } = await service.json('/openapi.json');
  const samples = Object.entries<Record<string, { 'x-codeSamples': { source: string }[] }>>(body.paths)
    .filter(([path]) => /^\/(subscriptions|audit)/.test(path))
    .flatMap(([, { get: operation }]) => operation?.['x-codeSamples'].map(({ source }) => source) ?? []);
  const known: Record<string, string> = {
    subscription: SUBSCRIPTION,
    group: GROUP,
    account: 'default',
    deployment: 'gpt-4o-batch-deployment',
    location: 'koreacentral',
  };

  const answers = [];
  for (const sample of samples) {
    const [, path = ''] = /^curl "\$OFFPEAK([^"]+)" -H "api-key: \$ADMIN_KEY"/.exec(sample) ?? [];
    const data = [...sample.matchAll(/ -d (\w+=\S+)/g)].map(([, pair]) => `&${pair}`).join('');
    const url = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => known[name] ?? name) + data;
    const { status } = await service.fetch(url, { headers: { 'api-key': ADMIN_KEY } });
    answers.push([sample, status]);
  }

  expect(answers.length).toBeGreaterThan(10);
  expect(answers.filter(([, status]) => status !== 200)).toEqual([]);
});
