import type { RequestListener } from 'node:http';
import { describe, expect, test } from 'vitest';
import { OwnDirectory } from '../../../test/support/own-directory.ts';
import { ControlClient, type ControlCommandFlags } from '../client/control-client.ts';
import { resolveControl } from '../client/endpoint.ts';
import { auditRow } from './audit.ts';
import { bodyOf as deploymentBody } from './deployments.ts';
import { skusAndQuota } from './models.ts';
import { bar, modelAndSku } from './quota.ts';
import { bodyOf as resourceBody } from './resources.ts';

const own: ControlCommandFlags = { subscription: 's' };
const inDefault = { ...own, resource: 'default' };

const place = new OwnDirectory();

async function clientOf(handler: RequestListener, flags: Partial<ControlCommandFlags> = {}) {
  const endpoint = await place.listen(handler);
  const given = { ...own, endpoint, adminKey: 'canary', ...flags };
  return new ControlClient(resolveControl(given, {}), given);
}

describe('requests', () => {
  test('a list has the resources of the subscription, or of the group that was named', async () => {
    const asked: unknown[] = [];
    const answer: RequestListener = (request, response) => {
      asked.push(request.url);
      response.end('{"value":[]}');
    };

    await (await clientOf(answer)).resources();
    await (await clientOf(answer, { resourceGroup: 'a group' })).resources();

    expect(asked).toEqual([
      '/subscriptions/s/providers/Microsoft.CognitiveServices/accounts?api-version=2025-09-01',
      '/subscriptions/s/resourceGroups/a%20group/providers/Microsoft.CognitiveServices/accounts?api-version=2025-09-01',
    ]);
  });

  test('a name cannot name another path', async () => {
    let url = '';
    const client = await clientOf((request, response) => {
      url = request.url ?? '';
      response.end('{"name":"x","location":"l","properties":{}}');
    });

    await client.resource('../x?y');

    expect(url).toMatch(/\/accounts\/\.\.%2Fx%3Fy\?/);
    expect(() => client.resource('..')).toThrow("'..' is not a name.");
  });

  test('a deletion says whether there was something to delete', async () => {
    const statuses = [200, 204];
    const client = await clientOf((_, response) => response.writeHead(statuses.shift() ?? 500).end());

    expect(await client.deleteDeployment('default', 'd')).toBe(true);
    expect(await client.deleteDeployment('default', 'd')).toBe(false);
  });

  test('a refusal is printed in the words of the service, with what to check and without the key', async () => {
    const client = await clientOf((_, response) =>
      response.writeHead(401).end('{"error":{"code":"AuthenticationFailed","message":"No."}}'),
    );

    const refused = client.keys('default');

    await expect(refused).rejects.toThrow(/answered 401: No\. \(AuthenticationFailed\) Check the admin key/);
    await expect(refused).rejects.not.toThrow(/canary/);
  });
});

describe('the flags become the body of the request', () => {
  test('of a resource', () => {
    expect(resourceBody(own)).toEqual({});
    expect(
      resourceBody({ ...own, location: 'westus', offer: 'MSDN', disableKeyAuth: true, tag: ['a=b=c', 'd='] }),
    ).toEqual({
      location: 'westus',
      tags: { a: 'b=c', d: '' },
      properties: { disableLocalAuth: true, offpeak: { offer: 'msdn' } },
    });
    expect(resourceBody({ ...own, enableKeyAuth: true })).toEqual({
      properties: { disableLocalAuth: false },
    });
  });

  test.each([
    [{ offer: 'gold' }, /--offer 'gold': expected one of enterprise/],
    [{ tag: ['team'] }, /--tag 'team': expected NAME=VALUE/],
    [{ enableKeyAuth: true, disableKeyAuth: true }, /exclude each other/],
  ])('of a resource, unless they are wrong: %j', (flags, message) => {
    expect(() => resourceBody({ ...own, ...flags })).toThrow(message);
  });

  test('of a deployment', () => {
    expect(deploymentBody(inDefault)).toEqual({});
    expect(
      deploymentBody({
        ...inDefault,
        model: 'gpt-4o',
        version: '2024-08-06',
        sku: 'global-batch',
        capacity: 50,
        dynamicQuota: true,
        queue: 'wait',
        concurrency: 8,
        upstream: ['vllm-1', 'vllm-2'],
      }),
    ).toEqual({
      sku: { name: 'GlobalBatch', capacity: 50 },
      properties: {
        model: { format: 'OpenAI', name: 'gpt-4o', version: '2024-08-06' },
        dynamicThrottlingEnabled: true,
        offpeak: { whenFull: 'wait', concurrency: 8, upstreams: ['vllm-1', 'vllm-2'] },
      },
    });
    expect(deploymentBody({ ...inDefault, dynamicQuota: false, upstream: ['all'] })).toEqual({
      properties: { dynamicThrottlingEnabled: false, offpeak: { upstreams: null } },
    });
    expect(() => deploymentBody({ ...inDefault, sku: 'Bulk' })).toThrow(
      /--sku 'Bulk': expected one of GlobalBatch/,
    );
  });
});

describe('what is shown', () => {
  test('the name of a usage has the SKU and the model, whose name may have dots', () => {
    expect(modelAndSku('OpenAI.GlobalBatch.gpt-4.1-mini')).toEqual({
      sku: 'GlobalBatch',
      model: 'gpt-4.1-mini',
    });
  });

  test.each([
    [{ held: 0, allocated: 0, limit: 100 }, '░'.repeat(24)],
    [{ held: 1, allocated: 50, limit: 1e9 }, `█${'░'.repeat(23)}`],
    [{ held: 25, allocated: 50, limit: 100 }, '█'.repeat(6) + '▒'.repeat(6) + '░'.repeat(12)],
    [{ held: 300, allocated: 100, limit: 100 }, '█'.repeat(24)],
    [{ held: 0, allocated: 0, limit: 0 }, '░'.repeat(24)],
  ])('the bar of %j', (tokens, shown) => {
    expect(bar(tokens)).toBe(shown);
  });

  test('a model has its SKUs, with what is left of the batch quotas', () => {
    const skus = ['GlobalBatch', 'DataZoneBatch', 'Standard'].map((name) => ({
      name,
      usageName: `OpenAI.${name}.m`,
    }));
    const offpeak = {
      allocated_tokens: 150_000,
      held_tokens: 0,
      limit_tokens: 200_000,
      available_tokens: 50_000,
    };

    expect(
      skusAndQuota({ model: { name: 'm', skus } }, [{ name: { value: 'OpenAI.GlobalBatch.m' }, offpeak }]),
    ).toBe('GlobalBatch 50K, DataZoneBatch no limit, Standard');
  });

  test('an entry of the audit log is one line, whatever is in it', () => {
    const entry = {
      seq: 1,
      at: 1_767_225_600,
      resource: null,
      actor: 'key\u001B[31m\n',
      action: 'deployment.update',
      target: 'd',
      detail: { sku: 'GlobalBatch', tags: {}, when_full: { from: 'fail', to: 'wait' } },
    };

    expect(auditRow(entry)).toEqual([
      '2026-01-01 00:00:00',
      '-',
      'key ',
      'deployment.update',
      'd',
      'sku=GlobalBatch tags={} when_full=fail→wait',
    ]);
  });
});
