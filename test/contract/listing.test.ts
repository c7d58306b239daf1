import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lines, startService, type Json, type Service } from './harness.ts';

let service: Service;
/** Newest first. */
const batchIds: string[] = [];
let cancelledId: string;

beforeAll(async () => {
  service = await startService();
  for (let count = 0; count < 5; count++) {
    const batch = await service.createBatch(lines(1));
    await service.waitFor(batch.id, 'completed');
    batchIds.unshift(batch.id);
  }
  service.gate.close();
  const last = await service.createBatch(lines(2));
  cancelledId = last.id;
  batchIds.unshift(last.id);
  await service.post(`/openai/v1/batches/${last.id}/cancel`);
  await service.waitFor(last.id, 'cancelled');
  service.gate.open();
});
afterAll(() => service.close());

const list = async (query: string, root = '/openai/v1') =>
  (await service.json(`${root}/batches?${query}`)).body;
const idsOf = (page: Json): string[] => page.data.map(({ id }: { id: string }) => id);

async function walk(kind: 'batches' | 'files', query: string): Promise<string[][]> {
  const pages: string[][] = [];
  let after = '';
  for (;;) {
    const { body } = await service.json(`/v1/${kind}?${query}${after}`);
    pages.push(idsOf(body));
    expect(body.data.length === 0 && body.has_more).toBe(false);
    expect([body.first_id, body.last_id]).toEqual([
      pages.at(-1)?.at(0) ?? null,
      pages.at(-1)?.at(-1) ?? null,
    ]);
    if (!body.has_more) return pages;
    after = `&after=${body.last_id}`;
  }
}

describe('pages of batches', () => {
  test('come newest first, all at once when they fit', async () => {
    const page = await list('');

    expect(idsOf(page)).toEqual(batchIds);
    expect(page).toMatchObject({ object: 'list', has_more: false });
  });

  test.each([1, 2, 3, 4, 6, 100])('of %i show every batch once, and end', async (limit) => {
    const pages = await walk('batches', `limit=${limit}`);

    expect(pages.flat()).toEqual(batchIds);
    expect(pages.length).toBe(Math.ceil(batchIds.length / limit));
  });

  test('with an empty `after` start at the newest, as scripts ask', async () => {
    expect(await list('after=')).toEqual(await list(''));
    const [files, all] = await Promise.all(['?after=', ''].map((query) => service.json(`/v1/files${query}`)));
    expect(files?.body).toEqual(all?.body);
  });

  test('after the last batch is empty and has no more', async () => {
    expect(await list(`after=${batchIds.at(-1)}`)).toMatchObject({ data: [], has_more: false });
  });

  test('hold the whole batch, as its own route does', async () => {
    const [first] = (await list('limit=1')).data;

    expect(first).toEqual((await service.json(`/openai/v1/batches/${first.id}`)).body);
  });
});

describe('filters', () => {
  const query = (filter: string, order = '') =>
    `$filter=${encodeURIComponent(filter)}${order && `&$orderby=${encodeURIComponent(order)}`}`;

  test('select by status, in any case', async () => {
    expect(idsOf(await list(query("status eq 'Cancelled'")))).toEqual([cancelledId]);
    expect(idsOf(await list(query("status ne 'CANCELLED'")))).toEqual(batchIds.slice(1));
    expect(idsOf(await list(query("status eq 'Completed' or status eq 'canceled'")))).toEqual(batchIds);
  });

  test('select by time', async () => {
    const now = Math.floor(Date.now() / 1000);

    expect(idsOf(await list(query(`created_at gt ${now - 3600} and created_at lt ${now + 3600}`)))).toEqual(
      batchIds,
    );
    expect(idsOf(await list(query(`created_at gt ${now + 3600}`)))).toEqual([]);
    expect(idsOf(await list(query('completed_at eq null')))).toEqual([cancelledId]);
  });

  test('select by input file', async () => {
    const [batch] = (await list('limit=1')).data;

    expect(idsOf(await list(query(`input_file_id eq '${batch.input_file_id}'`)))).toEqual([batch.id]);
    expect(idsOf(await list(query("input_file_id eq ''' or 1 eq 1 --'")))).toEqual([]);
  });

  test('and paging go together, in either direction', async () => {
    const oldestFirst = batchIds.toReversed().filter((id) => id !== cancelledId);
    const pages = await walk('batches', `limit=2&${query("status eq 'completed'", 'created_at asc')}`);

    expect(pages.flat()).toEqual(oldestFirst);
    expect(idsOf(await list(query("status eq 'completed'", 'created_at desc')))).toEqual(
      oldestFirst.toReversed(),
    );
  });

  test('that are empty are ignored', async () => {
    expect(idsOf(await list('$filter=&$orderby='))).toEqual(batchIds);
  });

  test('may be written with an encoded dollar sign', async () => {
    expect(idsOf(await list(`%24filter=${encodeURIComponent("status eq 'cancelled'")}`))).toEqual([
      cancelledId,
    ]);
  });
});

describe('pages of files', () => {
  test('by purpose, in either order, each once', async () => {
    const newestFirst = (await walk('files', 'purpose=batch')).flat();

    expect(newestFirst.length).toBe(batchIds.length);
    expect((await walk('files', 'purpose=batch&limit=2')).flat()).toEqual(newestFirst);
    expect((await walk('files', 'purpose=batch&limit=4&order=asc')).flat()).toEqual(newestFirst.toReversed());
    const produced = (await walk('files', 'purpose=batch_output')).flat();
    expect(produced.length).toBe(batchIds.length * 2);
    expect((await walk('files', 'limit=5')).flat().toSorted()).toEqual(
      [...newestFirst, ...produced].toSorted(),
    );
    for (const published of ['assistants', 'evals', 'evals_output', 'user_data', 'vision', 'fine-tune'])
      expect((await walk('files', `purpose=${published}`)).flat()).toEqual([]);
  });
});
