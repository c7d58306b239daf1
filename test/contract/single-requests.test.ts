import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENT, LIMIT, RESOURCE_A, startService, type Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
  const scope = { resourceId: RESOURCE_A, actor: 'test' };
  const batch = await service.deps.state.deployments.get(scope, DEPLOYMENT);
  await service.deps.state.deployments.put(
    scope,
    { ...batch!, name: 'online', sku: 'GlobalStandard', enqueuedTokensMax: LIMIT },
    { quotaTokensMax: null, atS: 0 },
  );
});
afterAll(() => service.close());

const ask = (path: string, model: string) =>
  service.post(path, { model, messages: [{ role: 'user', content: 'Hello' }] });

test.each([
  ['/v1/chat/completions', 'operation_not_supported'],
  ['/v1/responses', 'operation_not_supported'],
  ['/openai/v1/embeddings', 'OperationNotSupported'],
  ['/openai/deployments/online/chat/completions?api-version=2024-10-21', 'OperationNotSupported'],
])('a single request to a standard deployment is refused as not served yet (%s)', async (path, code) => {
  const { status, body } = await ask(path, 'online');

  expect([status, body.error.code]).toEqual([400, code]);
  expect(body.error.message).toMatch(/'online' has the SKU GlobalStandard.*does not serve those yet/);
});

test('a single request to a batch deployment is refused in the words of the original', async () => {
  const { status, body } = await ask('/openai/v1/chat/completions', DEPLOYMENT);

  expect(status).toBe(400);
  expect(body.error.message).toContain('does not work with the specified model');
});
