import { afterAll, beforeAll, expect, test } from 'vitest';
import { startService, type Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.close());

test('a list of batches shows ten faults of each and counts the rest, and one batch shows a thousand', async () => {
  const BATCHES = 20;
  const file = '{"custom_id": 1}\n'.repeat(1_200);
  for (let count = 0; count < BATCHES; count += 1) await service.createBatch(file);

  for (const root of ['/openai/v1', '/v1']) {
    const response = await service.fetch(`${root}/batches?limit=100`);
    const text = await response.text();

    expect(text.length).toBeLessThan(BATCHES * 6_000);
    const { data } = JSON.parse(text);
    expect(data).toHaveLength(BATCHES);
    for (const batch of data) {
      expect(batch.errors.object).toBe('list');
      expect(batch.errors.data).toHaveLength(10);
      const { body } = await service.json(`${root}/batches/${batch.id}`);
      expect(body.errors.data).toHaveLength(1_000);
      expect(body.errors.data.slice(0, 10)).toEqual(batch.errors.data);
      const all = body.errors.data.length + body.offpeak.errors_omitted;
      expect(batch.errors.data.length + batch.offpeak.errors_omitted).toBe(all);
    }
  }
});
