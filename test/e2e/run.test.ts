import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startLedgerUpstream, type LedgerUpstream } from '../support/ledger-upstream.ts';
import { EXAMPLE, lines, offpeak, requests, scratch, start } from './offpeak.ts';

let place: Awaited<ReturnType<typeof scratch>>;
let upstream: LedgerUpstream | undefined;
beforeEach(async () => {
  place = await scratch();
});
afterEach(async () => {
  await upstream?.stop();
  upstream = undefined;
  await place.remove();
});

const read = (name: string) => readFile(join(place.dir, name), 'utf8');
const write = (name: string, text: string) => writeFile(join(place.dir, name), text);
const exists = (name: string) =>
  access(join(place.dir, name)).then(
    () => true,
    () => false,
  );

describe('a run without a server', () => {
  test('answers every line in order, leaves only a record of the run beside them, and ends with 0', async () => {
    const { code, stdout } = await offpeak(['run', EXAMPLE, '-o', 'out.jsonl', '--upstream', 'simulator'], {
      cwd: place.dir,
    });

    expect(code).toBe(0);
    expect(stdout).toBe('3 answered  out.jsonl\n');
    expect(lines(await read('out.jsonl')).map(({ custom_id }) => custom_id)).toEqual([
      'task-0',
      'task-1',
      'task-2',
    ]);
    expect((await readdir(place.dir)).sort()).toEqual(['out.errors.jsonl', 'out.jsonl', 'out.jsonl.offpeak']);
    expect(await readdir(join(place.dir, 'out.jsonl.offpeak'))).toEqual(['run.json']);
  });

  test('asks the upstream for --model, with the key and never more at once than --concurrency', async () => {
    upstream = await startLedgerUpstream({ script: { latencyMs: 20 } });
    await write('in.jsonl', requests(20));

    const { code } = await offpeak(
      ['run', 'in.jsonl', '--upstream', upstream.url, '--model', 'qwen', '--concurrency', '4'],
      { cwd: place.dir },
    );

    expect(code).toBe(0);
    expect(lines(await read('in.output.jsonl'))).toHaveLength(20);
    expect(await upstream.stats()).toMatchObject({ requests: 20, distinctKeys: 20 });
    expect((await upstream.stats()).inFlightMax).toBeLessThanOrEqual(4);
  });

  test('when some requests fail they are in the error file, and it ends with 1', async () => {
    upstream = await startLedgerUpstream({ script: { poison: { contains: 'Say 7', outcome: 400 } } });
    await write('in.jsonl', requests(10));

    const { code, stdout } = await offpeak(
      ['run', 'in.jsonl', '-o', 'out.jsonl', '-e', 'bad.jsonl', '--upstream', upstream.url, '--json'],
      { cwd: place.dir },
    );

    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ request_counts: { total: 10, completed: 9, failed: 1 } });
    expect(lines(await read('out.jsonl'))).toHaveLength(9);
    expect(lines(await read('bad.jsonl'))).toMatchObject([
      { custom_id: 'request-7', response: { status_code: 400 } },
    ]);
  });

  test('a file with faults ends it with 4: all are told, nothing is sent, nothing is written', async () => {
    upstream = await startLedgerUpstream();
    await write('in.jsonl', `${requests(2)}oops\n${requests(1)}`);

    const { code, stderr } = await offpeak(['run', 'in.jsonl', '--upstream', upstream.url], {
      cwd: place.dir,
    });

    expect(code).toBe(4);
    expect(stderr).toMatch(/in\.jsonl:3: invalid_json_line[^]*in\.jsonl:4: duplicate_custom_id/);
    expect((await upstream.stats()).requests).toBe(0);
    expect(await readdir(place.dir)).toEqual(['in.jsonl']);
  });

  test('an upstream that is not there ends it with 3 before anything is written', async () => {
    await write('in.jsonl', requests(2));

    const { code, stderr } = await offpeak(['run', 'in.jsonl', '--upstream', 'http://127.0.0.1:9/v1'], {
      cwd: place.dir,
    });

    expect(code).toBe(3);
    expect(stderr).toContain('Cannot reach the upstream http://127.0.0.1:9/v1: nothing listens there');
    expect(await readdir(place.dir)).toEqual(['in.jsonl']);
  });

  test('an upstream that refuses the key ends it with 3 at once', async () => {
    const refusing = createServer((_, response) => response.writeHead(401).end('{}')).listen(0, '127.0.0.1');
    await once(refusing, 'listening');
    await write('in.jsonl', requests(2));
    const url = `http://127.0.0.1:${(refusing.address() as AddressInfo).port}/v1`;

    const { code, stderr } = await offpeak(
      ['run', 'in.jsonl', '--upstream', url, '--upstream-api-key', 'canary'],
      {
        cwd: place.dir,
      },
    );
    refusing.close();

    expect(code).toBe(3);
    expect(stderr).toContain('wants another key (401). Check --upstream-api-key.');
    expect(stderr).not.toContain('canary');
  });

  test('the simulator as a server of its own is an upstream like any other', async () => {
    const simulator = start(['simulator', '--port', '0', '--json'], { cwd: place.dir });
    const { url } = JSON.parse(await simulator.until(/\}\n/)) as { url: string };

    const { code } = await offpeak(['run', EXAMPLE, '-o', 'out.jsonl', '--upstream', url], {
      cwd: place.dir,
    });
    simulator.child.kill('SIGTERM');

    expect(code).toBe(0);
    expect(await read('out.jsonl')).toContain('[simulated]');
    expect((await simulator.ended).code).toBe(0);
  });

  test('faults of the options are usage, all at once', async () => {
    const { code, stderr } = await offpeak(['run', EXAMPLE, '--concurrency', 'x', '--upstream', 'nowhere'], {
      cwd: place.dir,
      env: { OFFPEAK_MAX_RETRIES: '-1' },
    });

    expect(code).toBe(2);
    expect(stderr).toMatch(/--upstream: [^]*--concurrency: [^]*OFFPEAK_MAX_RETRIES: /);
  });
});

describe('a run that was ended', () => {
  const count = 300;

  test('by kill -9 goes on where it was: no line lost or doubled, few sent again', async () => {
    upstream = await startLedgerUpstream({ script: { latencyMs: 40 } });
    await write('in.jsonl', requests(count));
    const args = ['run', 'in.jsonl', '-o', 'out.jsonl', '--upstream', upstream.url, '--concurrency', '8'];

    for (const answered of [60, 150]) {
      const running = start(args, { cwd: place.dir });
      while ((await upstream.stats()).requests < answered) await running.until(/in_progress/);
      running.child.kill('SIGKILL');
      expect((await running.ended).code).toBe(null);
      expect(await exists('out.jsonl')).toBe(false);
    }
    const last = await offpeak([...args, '--json'], { cwd: place.dir });

    expect(last.stderr).toMatch(/Going on with an earlier run: \d+ of 300 are done/);
    expect(last.code).toBe(0);
    const ids = lines(await read('out.jsonl')).map(({ custom_id }) => custom_id);
    expect(ids).toEqual(Array.from({ length: count }, (_, at) => `request-${at}`));
    const { requests: sent, distinctKeys } = await upstream.stats();
    expect(distinctKeys).toBe(count);
    expect(sent - count).toBeLessThanOrEqual(2 * (8 + 64));
    expect(await readdir(join(place.dir, 'out.jsonl.offpeak'))).toEqual(['run.json']);
  });

  test('by SIGTERM keeps what is done and sends nothing twice', async () => {
    upstream = await startLedgerUpstream({ script: { latencyMs: 40 } });
    await write('in.jsonl', requests(100));
    const args = ['run', 'in.jsonl', '--upstream', upstream.url, '--concurrency', '4'];

    const running = start(args, { cwd: place.dir });
    while ((await upstream.stats()).requests < 20) await running.until(/in_progress/);
    running.child.kill('SIGTERM');
    const stopped = await running.ended;
    const last = await offpeak(args, { cwd: place.dir });

    expect(stopped).toMatchObject({ code: 5 });
    expect(stopped.stderr).toContain('stopping: requests in flight get 30 s to finish');
    expect(stopped.stderr).toContain('The same command goes on from here');
    expect(last.code).toBe(0);
    expect(await upstream.stats()).toMatchObject({ requests: 100, distinctKeys: 100 });
  });

  test('is not gone on with when the input is another one', async () => {
    upstream = await startLedgerUpstream({ script: { latencyMs: 50 } });
    await write('in.jsonl', requests(100));
    const args = ['run', 'in.jsonl', '--upstream', upstream.url, '--concurrency', '2'];
    const running = start(args, { cwd: place.dir });
    while ((await upstream.stats()).requests < 4) await running.until(/in_progress/);
    running.child.kill('SIGKILL');
    await running.ended;

    await write('in.jsonl', requests(99));
    const other = await offpeak(args, { cwd: place.dir });

    expect(other.code).toBe(2);
    expect(other.stderr).toContain('holds an unfinished run over another input');
  });

  test('is refused while it still runs', async () => {
    upstream = await startLedgerUpstream({ script: { latencyMs: 200 } });
    await write('in.jsonl', requests(50));
    const args = ['run', 'in.jsonl', '--upstream', upstream.url, '--concurrency', '1'];
    const running = start(args, { cwd: place.dir });
    await running.until(/in_progress/);

    const second = await offpeak(args, { cwd: place.dir });
    const forced = await offpeak([...args, '--force'], { cwd: place.dir });
    running.child.kill('SIGKILL');
    await running.ended;

    expect([second.code, forced.code]).toEqual([1, 1]);
    expect(second.stderr).toContain('another run is under way there');
    expect(forced.stderr).toContain('another run is under way there');
  });
});
