import { readdir } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { EXAMPLE, lines, Place, requests, words } from './offpeak.ts';

const place = new Place();

describe('a run without a server', () => {
  test('answers every line in order, leaves only a record of the run beside them, and ends with 0', async () => {
    const { code, stdout } = await place.offpeak(words`run ${EXAMPLE} -o out.jsonl --upstream simulator`);

    expect(code).toBe(0);
    expect(stdout).toBe('3 answered  out.jsonl\n');
    expect(await place.ids('out.jsonl')).toEqual(['task-0', 'task-1', 'task-2']);
    expect((await readdir(place.dir)).sort()).toEqual(['out.errors.jsonl', 'out.jsonl', 'out.jsonl.offpeak']);
    expect(await readdir(place.path('out.jsonl.offpeak'))).toEqual(['run.json']);
  });

  test('asks the upstream for --model, with the key and never more at once than --concurrency', async () => {
    const upstream = await place.ledger({ script: { latencyMs: 20 } });
    await place.write('in.jsonl', requests(20));

    const { code } = await place.offpeak(
      words`run in.jsonl --upstream ${upstream.url} --model qwen --concurrency 4`,
    );

    expect(code).toBe(0);
    expect(lines(await place.read('in.output.jsonl'))).toHaveLength(20);
    expect(await upstream.stats()).toMatchObject({ requests: 20, distinctKeys: 20 });
    expect((await upstream.stats()).inFlightMax).toBeLessThanOrEqual(4);
  });

  test('writes failed requests into the error file, and ends with 1', async () => {
    const upstream = await place.ledger({ script: { poison: { contains: 'Say 7', outcome: 400 } } });
    await place.write('in.jsonl', requests(10));

    const { code, stdout } = await place.offpeak(
      words`run in.jsonl -o out.jsonl -e bad.jsonl --upstream ${upstream.url} --json`,
    );

    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ request_counts: { total: 10, completed: 9, failed: 1 } });
    expect(lines(await place.read('out.jsonl'))).toHaveLength(9);
    expect(lines(await place.read('bad.jsonl'))).toMatchObject([
      { custom_id: 'request-7', response: { status_code: 400 } },
    ]);
  });

  test('ends with 4 for a file with faults: it prints all of them, sends nothing and writes nothing', async () => {
    const upstream = await place.ledger();
    await place.write('in.jsonl', `${requests(2)}oops\n${requests(1)}`);

    const { code, stderr } = await place.offpeak(['run', 'in.jsonl', '--upstream', upstream.url]);

    expect(code).toBe(4);
    expect(stderr).toMatch(/in\.jsonl:3: invalid_json_line[^]*in\.jsonl:4: duplicate_custom_id/);
    expect((await upstream.stats()).requests).toBe(0);
    expect(await readdir(place.dir)).toEqual(['in.jsonl']);
  });

  test('ends with 3 if the upstream is not there, before anything is written', async () => {
    await place.write('in.jsonl', requests(2));

    const { code, stderr } = await place.offpeak(['run', 'in.jsonl', '--upstream', 'http://127.0.0.1:9/v1']);

    expect(code).toBe(3);
    expect(stderr).toContain('Cannot reach the upstream http://127.0.0.1:9/v1: nothing listens there');
    expect(await readdir(place.dir)).toEqual(['in.jsonl']);
  });

  test('ends with 3 at once if the upstream refuses the key', async () => {
    const url = await place.listen((_, response) => response.writeHead(401).end('{}'));
    await place.write('in.jsonl', requests(2));

    const { code, stderr } = await place.offpeak(
      words`run in.jsonl --upstream ${url}/v1 --upstream-api-key canary`,
    );

    expect(code).toBe(3);
    expect(stderr).toContain('wants another key (401). Check --upstream-api-key.');
    expect(stderr).not.toContain('canary');
  });

  test('takes a simulator in another process as an upstream like any other', async () => {
    const { running, url } = await place.simulator();

    const { code } = await place.offpeak(words`run ${EXAMPLE} -o out.jsonl --upstream ${url}`);
    running.child.kill('SIGTERM');

    expect(code).toBe(0);
    expect(await place.read('out.jsonl')).toContain('[simulated]');
    expect((await running.ended).code).toBe(0);
  });

  test('ends with 2 for faults of the options, and names all of them', async () => {
    const { code, stderr } = await place.offpeak(
      ['run', EXAMPLE, '--concurrency', 'x', '--upstream', 'nowhere'],
      { env: { OFFPEAK_MAX_RETRIES: '-1' } },
    );

    expect(code).toBe(2);
    expect(stderr).toMatch(/--upstream: [^]*--concurrency: [^]*OFFPEAK_MAX_RETRIES: /);
  });
});

describe('a run that was ended', () => {
  const count = 300;

  test('by kill -9 goes on where it was: no request is lost or answered twice, few are sent again', async () => {
    const upstream = await place.ledger({ script: { latencyMs: 40 } });
    await place.write('in.jsonl', requests(count));
    const args = ['run', 'in.jsonl', '-o', 'out.jsonl', '--upstream', upstream.url, '--concurrency', '8'];

    for (const answered of [60, 150]) {
      const running = place.start(args);
      await upstream.untilRequests(answered);
      running.child.kill('SIGKILL');
      expect((await running.ended).code).toBe(null);
      expect(await place.exists('out.jsonl')).toBe(false);
    }
    const last = await place.offpeak([...args, '--json']);

    expect(last.stderr).toMatch(/Going on with an earlier run: \d+ of 300 are done/);
    expect(last.code).toBe(0);
    const ids = await place.ids('out.jsonl');
    expect(ids).toEqual(Array.from({ length: count }, (_, at) => `request-${at}`));
    const { requests: sent, distinctKeys } = await upstream.stats();
    expect(distinctKeys).toBe(count);
    expect(sent - count).toBeLessThanOrEqual(2 * (8 + 64));
    expect(await readdir(place.path('out.jsonl.offpeak'))).toEqual(['run.json']);
  });

  test('by SIGTERM keeps its answers and sends nothing twice', async () => {
    const upstream = await place.ledger({ script: { latencyMs: 40 } });
    await place.write('in.jsonl', requests(100));
    const args = ['run', 'in.jsonl', '--upstream', upstream.url, '--concurrency', '4'];

    const running = place.start(args);
    await upstream.untilRequests(20);
    running.child.kill('SIGTERM');
    const stopped = await running.ended;
    const last = await place.offpeak(args);

    expect(stopped).toMatchObject({ code: 5 });
    expect(stopped.stderr).toContain('stopping: requests in flight get 30 s to finish');
    expect(stopped.stderr).toContain('The same command goes on from here');
    expect(last.code).toBe(0);
    expect(await upstream.stats()).toMatchObject({ requests: 100, distinctKeys: 100 });
  });

  test('does not go on over another input', async () => {
    const upstream = await place.ledger({ script: { latencyMs: 50 } });
    await place.write('in.jsonl', requests(100));
    const args = ['run', 'in.jsonl', '--upstream', upstream.url, '--concurrency', '2'];
    const running = place.start(args);
    await upstream.untilRequests(4);
    running.child.kill('SIGKILL');
    await running.ended;

    await place.write('in.jsonl', requests(99));
    const other = await place.offpeak(args);

    expect(other.code).toBe(2);
    expect(other.stderr).toContain('holds an unfinished run over another input');
  });

  test('is refused while it still runs', async () => {
    const upstream = await place.ledger({ script: { hangChance: 1 } });
    await place.write('in.jsonl', requests(2));
    const args = ['run', 'in.jsonl', '--upstream', upstream.url];
    await place.start(args).until(/in_progress/);

    const second = await place.offpeak(args);
    const forced = await place.offpeak([...args, '--force']);

    expect([second.code, forced.code]).toEqual([1, 1]);
    expect(second.stderr).toContain('another run is under way there');
    expect(forced.stderr).toContain('another run is under way there');
  });
});
