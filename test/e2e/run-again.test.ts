import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import type { LedgerUpstream } from '../support/ledger-upstream.ts';
import { Place, requests, words } from './offpeak.ts';

const place = new Place();
let upstream: LedgerUpstream;
beforeEach(async () => {
  upstream = await place.ledger({ script: { poison: { contains: 'Say 7', outcome: 400 } } });
});

const args = (...flags: string[]) => [
  ...words`run in.jsonl -o out.jsonl --upstream ${upstream.url}`,
  ...flags,
];
const run = (...flags: string[]) => place.offpeak(args(...flags));
const sent = async () => (await upstream.stats()).requests;

const ALL_20 = Array.from({ length: 20 }, (_, at) => `request-${at}`);

describe('a run that is finished', () => {
  test('is not sent again, and the same command says so with the same exit code', async () => {
    await place.write('in.jsonl', requests(10));
    const first = await run('--json');
    const state = async () => [
      await place.read('out.jsonl'),
      await place.read('out.errors.jsonl'),
      await sent(),
    ];
    const before = await state();

    const again = await run();
    const asJson = await run('--json');

    expect([first.code, again.code, asJson.code]).toEqual([1, 1, 1]);
    expect(again.stdout).toBe('9 answered  out.jsonl\n1 failed    out.errors.jsonl\n');
    expect(again.stderr).toContain('Finished before: nothing was sent. --retry-failed sends');
    expect(JSON.parse(asJson.stdout)).toEqual({
      ...(JSON.parse(first.stdout) as object),
      already_finished: true,
    });
    expect(await state()).toEqual(before);
  });

  test('ends with 0 again if all requests are answered, also when its error file was removed', async () => {
    await place.write('in.jsonl', requests(5));
    await run();
    await rm(place.path('out.errors.jsonl'));

    const again = await run();
    const retried = await run('--retry-failed');

    expect([again.code, retried.code]).toEqual([0, 0]);
    expect(await sent()).toBe(5);
  });

  test.each([
    ['another model', ['--model', 'qwen'], "with model 'llama', not 'qwen'"],
    ['another upstream', ['--upstream', 'simulator'], 'not simulator'],
    ['a retry with another model', ['--model', 'qwen', '--retry-failed'], "with model 'llama'"],
  ])('is not mixed with %s', async (_, flags, reason) => {
    await place.write('in.jsonl', requests(10));
    await run();

    const other = await run(...flags);

    expect(other.code).toBe(2);
    expect(other.stderr).toContain(reason);
    expect(await sent()).toBe(10);
  });

  test('is not replaced by another input, save with --force, which sends everything', async () => {
    await place.write('in.jsonl', requests(10));
    await run();
    await place.write('in.jsonl', requests(3));

    const refused = await run();
    const forced = await run('--force');

    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('out.jsonl holds the answers of a run over another input than in.jsonl');
    expect(forced.code).toBe(0);
    expect(await place.ids('out.jsonl')).toEqual(['request-0', 'request-1', 'request-2']);
    expect(await sent()).toBe(13);
  });

  test('is refused in a sentence if its unfinished state is damaged, and --force starts it again', async () => {
    await place.write('in.jsonl', requests(5));
    await upstream.script({ poison: { contains: 'Say 3', outcome: 'hang' } });
    const running = place.start(args());
    await running.until(/in_progress, 4\/5/);
    running.child.kill('SIGKILL');
    await running.ended;
    await upstream.script({ poison: null });
    const state = join('out.jsonl.offpeak', 'data', 'offpeak.db');
    await rm(place.path(`${state}-wal`), { force: true });
    await place.write(state, 'not a database '.repeat(1_000));

    const refused = await run();
    const forced = await run('--force');

    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('--force sends everything again.');
    expect(refused.stderr).not.toMatch(/\n {4}at /);
    expect(forced.code).toBe(0);
  });

  test('is refused if its record cannot be read, and --force starts it again', async () => {
    await place.write('in.jsonl', requests(2));
    await run();
    await place.write('out.jsonl.offpeak/run.json', '{"sent":');

    const refused = await run();
    const forced = await run('--force');

    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('out.jsonl.offpeak holds no run that can be read');
    expect(forced.code).toBe(0);
    expect(await sent()).toBe(4);
  });

  test('is kept in spite of --force if files that are not its own lie beside its record', async () => {
    await place.write('in.jsonl', requests(2));
    await run();
    await place.write('out.jsonl.offpeak/notes.txt', 'mine');

    const { code, stderr } = await run('--force');

    expect(code).toBe(2);
    expect(stderr).toContain("files that are not of a run, such as 'notes.txt'");
    expect(await place.read('out.jsonl.offpeak/notes.txt')).toBe('mine');
    expect(await sent()).toBe(2);
  });

  test('keeps an output with answers of an unknown run, and replaces other content', async () => {
    await place.write('in.jsonl', requests(2));
    await place.write(
      'out.jsonl',
      '{"id":"x","custom_id":"a","response":{"status_code":200,"body":{}},"error":null}\n',
    );

    const refused = await run();
    await place.write('out.jsonl', 'notes\n');
    const replaced = await run();

    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('out.jsonl holds answers already');
    expect(replaced.code).toBe(0);
    expect(await place.ids('out.jsonl')).toEqual(['request-0', 'request-1']);
  });

  test('is not finished if its output was emptied since', async () => {
    await place.write('in.jsonl', requests(2));
    await run();
    await place.write('out.jsonl', '');

    const { code, stderr } = await run();

    expect(code).toBe(2);
    expect(stderr).toContain('out.jsonl was changed since its run was finished: it has 0 bytes');
    expect(await sent()).toBe(2);
  });

  test('starts again when its output was removed', async () => {
    await place.write('in.jsonl', requests(2));
    await run();
    await rm(place.path('out.jsonl'));

    expect((await run()).code).toBe(0);
    expect(await sent()).toBe(4);
  });
});

describe('--retry-failed', () => {
  test('sends only what failed, and puts the new answers at their places', async () => {
    await place.write('in.jsonl', requests(20));
    await run();
    await upstream.script({ poison: null });

    const retried = await run('--retry-failed', '--json');
    const after = await run();

    expect(retried.code).toBe(0);
    expect(JSON.parse(retried.stdout)).toMatchObject({
      request_counts: { total: 20, completed: 20, failed: 0 },
    });
    expect(await place.ids('out.jsonl')).toEqual(ALL_20);
    expect(await place.read('out.errors.jsonl')).toBe('');
    expect(after.code).toBe(0);
    expect(await sent()).toBe(21);
  });

  test('writes what fails again into the error file, and can send it once more', async () => {
    await place.write('in.jsonl', requests(20));
    await upstream.script({ poison: { contains: 'Say 1', outcome: 400 } });
    await run();
    await upstream.script({ poison: { contains: 'Say 12', outcome: 400 } });

    const retried = await run('--retry-failed');

    expect(retried.code).toBe(1);
    expect(await place.ids('out.errors.jsonl')).toEqual(['request-12']);
    expect(await place.ids('out.jsonl')).toHaveLength(19);
    expect(await sent()).toBe(31);
    await upstream.script({ poison: null });
    expect((await run('--retry-failed')).code).toBe(0);
    expect(await place.ids('out.jsonl')).toEqual(ALL_20);
    expect(await sent()).toBe(32);
  });

  test('goes on after a kill, with the flag or without it', async () => {
    await place.write('in.jsonl', requests(20));
    await upstream.script({ poison: { contains: 'Say 1', outcome: 400 } });
    await run();
    await upstream.script({ poison: null, latencyMs: 300 });
    const running = place.start(args('--concurrency', '1', '--retry-failed'));
    await upstream.untilRequests(23);
    running.child.kill('SIGKILL');
    await running.ended;
    await upstream.script({ latencyMs: 0 });

    const last = await run();

    expect(last.stderr).toContain('Going on with sending the failed requests again.');
    expect(last.code).toBe(0);
    expect(await place.ids('out.jsonl')).toEqual(ALL_20);
    expect((await upstream.stats()).requests - 31).toBeLessThanOrEqual(2);
    expect(await readdir(place.path('out.jsonl.offpeak'))).toEqual(['run.json']);
  });

  test('refuses an output or an error file that was changed since, and changes nothing', async () => {
    await place.write('in.jsonl', requests(10));
    await run();
    const output = await place.read('out.jsonl');
    await place.write('out.jsonl', output.split('\n').slice(2).join('\n'));
    await upstream.script({ poison: null });

    const cut = await run('--retry-failed');

    expect(cut.code).toBe(2);
    expect(cut.stderr).toContain('out.jsonl was changed since its run was finished');
    expect(await place.ids('out.errors.jsonl')).toEqual(['request-7']);
    const swapped = output.split('\n');
    await place.write('out.jsonl', [swapped[1], swapped[0], ...swapped.slice(2)].join('\n'));
    const disordered = await run('--retry-failed');
    expect(disordered.code).toBe(1);
    expect(disordered.stderr).toContain('out.jsonl is not what the run wrote');
    await place.write('out.jsonl', output);
    expect((await run('--retry-failed')).code).toBe(0);
    expect(await place.ids('out.jsonl')).toHaveLength(10);
    expect(await sent()).toBe(11);
  });

  test('ends also when every request that it sends is rejected again', async () => {
    await place.write('in.jsonl', requests(20));
    await run();

    const retried = await run('--retry-failed', '--wait-for-upstream', '2s');

    expect(retried.stderr).not.toContain('answers nothing');
    expect(retried.code).toBe(1);
    expect(await place.ids('out.errors.jsonl')).toEqual(['request-7']);
    expect(await place.ids('out.jsonl')).toHaveLength(19);
    expect((await run()).code).toBe(1);
  });

  test('is not needed for a killed run whose last request then fails for good: the run ends', async () => {
    await place.write('in.jsonl', requests(5).replace('Say 3', 'Say 7'));
    await upstream.script({ poison: { contains: 'Say 7', outcome: 'hang' } });
    const running = place.start(args());
    await running.until(/in_progress, 4\/5/);
    running.child.kill('SIGKILL');
    await running.ended;
    await upstream.script({ poison: { contains: 'Say 7', outcome: 500 } });

    const last = await run('--wait-for-upstream', '1s', '--max-retries', '2');

    expect(last.stderr).not.toContain('answers nothing');
    expect(last.code).toBe(1);
    expect(await place.ids('out.errors.jsonl')).toEqual(['request-3']);
  });

  test('cannot be given together with --force', async () => {
    await place.write('in.jsonl', requests(10));
    await run();

    const { code, stderr } = await run('--retry-failed', '--force');

    expect(code).toBe(2);
    expect(stderr).toContain('give one of them');
    expect(await sent()).toBe(10);
  });

  test('needs a run that is finished', async () => {
    await place.write('in.jsonl', requests(2));

    const { code, stderr } = await run('--retry-failed');

    expect(code).toBe(2);
    expect(stderr).toContain('there is no finished run at out.jsonl');
    expect(await sent()).toBe(0);
  });
});
