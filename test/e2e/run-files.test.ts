import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { link, lstat, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startLedgerUpstream, type LedgerUpstream } from '../support/ledger-upstream.ts';
import { EXAMPLE, lines, offpeak, OFFPEAK, requests, scratch, start } from './offpeak.ts';

let place: Awaited<ReturnType<typeof scratch>>;
let upstream: LedgerUpstream;
beforeEach(async () => {
  place = await scratch();
  upstream = await startLedgerUpstream();
  await writeFile(join(place.dir, 'in.jsonl'), requests(3));
});
afterEach(async () => {
  await upstream.stop();
  await place.remove();
});

const read = (name: string) => readFile(join(place.dir, name), 'utf8');
const run = (...args: string[]) => offpeak(['run', ...args, '--upstream', upstream.url], { cwd: place.dir });
const sent = async () => (await upstream.stats()).requests;

describe('where a run writes to', () => {
  test('- is standard output, with nothing but answers on it', async () => {
    const { code, stdout, stderr } = await run('in.jsonl', '-o', '-', '-e', '/dev/null', '--json');

    expect(code).toBe(0);
    expect(lines(stdout)).toHaveLength(3);
    expect(stderr).toContain('"completed":3');
    expect((await lstat('/dev/null')).isCharacterDevice()).toBe(true);
    expect((await readdir(place.dir)).filter((name) => !name.startsWith('.'))).toEqual(['in.jsonl']);
  });

  test('input from - is answered on standard output', async () => {
    const { code, stdout } = await offpeak(['run', '-', '--upstream', upstream.url], {
      cwd: place.dir,
      stdin: requests(4),
    });

    expect(code).toBe(0);
    expect(lines(stdout)).toHaveLength(4);
    expect(await read('stdin.errors.jsonl')).toBe('');
  });

  test('a pipe is written into, a symbolic link stays, and its target is whole', async () => {
    execFileSync('mkfifo', [join(place.dir, 'pipe')]);
    await symlink('real.jsonl', join(place.dir, 'link.jsonl'));
    const reading = start([join(place.dir, 'pipe')], { cwd: place.dir, launcher: '/bin/cat' });

    const { code } = await run('in.jsonl', '-o', 'link.jsonl', '-e', 'pipe');

    expect(code).toBe(0);
    expect(lines(await read('real.jsonl'))).toHaveLength(3);
    expect((await lstat(join(place.dir, 'link.jsonl'))).isSymbolicLink()).toBe(true);
    expect((await lstat(join(place.dir, 'pipe'))).isFIFO()).toBe(true);
    expect(await reading.ended).toMatchObject({ code: 0, stdout: '' });
  });

  test.each([
    ['a directory', ['-o', '.']],
    ['a directory that is not there', ['-o', 'none/out.jsonl']],
    ['a directory that takes no files', ['-o', '/proc/out.jsonl']],
    ['the input', ['-o', 'in.jsonl']],
    ['a hard link to the input', ['-o', 'hard.jsonl']],
    ['one file twice', ['-o', 'out.jsonl', '-e', './out.jsonl']],
    ['errors that cannot be written', ['-o', 'out.jsonl', '-e', '/proc/errors.jsonl']],
  ])('%s is refused before anything is sent', async (_, flags) => {
    await link(join(place.dir, 'in.jsonl'), join(place.dir, 'hard.jsonl'));

    const { code, stderr } = await run('in.jsonl', ...flags);

    expect(code).toBe(2);
    expect(stderr).toMatch(/cannot be written|are the same file/);
    expect(await sent()).toBe(0);
    expect(await readdir(place.dir)).toEqual(['hard.jsonl', 'in.jsonl']);
  });

  test('a terminal that is not there is found before anything is sent', async () => {
    const args = ['--wait', OFFPEAK, 'run', 'in.jsonl', '-o', '/dev/tty', '--upstream', upstream.url];
    const { code, stderr } = await start(args, { cwd: place.dir, launcher: 'setsid' }).ended;

    expect(code).toBe(2);
    expect(stderr).toContain('/dev/tty cannot be written');
    expect(await sent()).toBe(0);
  });

  test('a reader that goes away loses nothing: the same command writes it again and sends nothing', async () => {
    await writeFile(join(place.dir, 'in.jsonl'), requests(400));
    const command = `'${OFFPEAK}' run in.jsonl -o - --upstream ${upstream.url}`;
    const closed = start(['-c', `${command} | true`], { cwd: place.dir, launcher: '/bin/sh' });
    const first = await closed.ended;

    const again = await run('in.jsonl', '-o', '-');

    expect(first.stderr).toContain('standard output was closed before everything was written');
    expect(again.code).toBe(0);
    expect(lines(again.stdout)).toHaveLength(400);
    expect(await sent()).toBe(400);
  });
});

test('standard output that is full loses nothing either, and is told in a sentence', async () => {
  const command = `'${OFFPEAK}' run in.jsonl -o - --upstream ${upstream.url} > /dev/full`;
  const first = await start(['-c', command], { cwd: place.dir, launcher: '/bin/sh' }).ended;
  const version = await start(['-c', `'${OFFPEAK}' version > /dev/full`], {
    cwd: place.dir,
    launcher: '/bin/sh',
  }).ended;

  const again = await run('in.jsonl', '-o', '-');

  expect(first.code).toBe(1);
  expect(first.stderr).toContain('standard output cannot be written: the disk is full. Nothing is lost');
  expect(version).toMatchObject({
    code: 1,
    stderr: 'offpeak: standard output cannot be written: the disk is full.\n',
  });
  expect(again.code).toBe(0);
  expect(lines(again.stdout)).toHaveLength(3);
  expect(await sent()).toBe(3);
});

describe('who answers a run', () => {
  test('without --upstream nothing is invented: it refuses', async () => {
    const { code, stderr } = await offpeak(['run', EXAMPLE, '-o', 'out.jsonl'], { cwd: place.dir });

    expect(code).toBe(2);
    expect(stderr).toContain('run needs an upstream that answers: --upstream URL');
    expect(await readdir(place.dir)).toEqual(['in.jsonl']);
  });

  test('what is simulated says so on standard error and in JSON, also from a simulator of its own', async () => {
    const simulator = start(['simulator', '--port', '0', '--json'], { cwd: place.dir });
    const { url } = JSON.parse(await simulator.until(/\}\n/)) as { url: string };

    for (const [name, at] of [
      ['inner', 'simulator'],
      ['outer', url],
    ] as const) {
      const args = ['run', EXAMPLE, '-o', `${name}.jsonl`, '--upstream', at, '--json'];
      const { stdout, stderr } = await offpeak(args, { cwd: place.dir });
      expect(stderr).toContain('The answers are simulated: no model is asked.');
      expect(JSON.parse(stdout)).toMatchObject({ simulated: true });
    }
    const real = await run('in.jsonl', '--json');
    simulator.child.kill('SIGTERM');
    await simulator.ended;

    expect(JSON.parse(real.stdout)).toMatchObject({ simulated: false });
    expect(real.stderr).not.toContain('simulated');
  });

  test('an upstream that accepts nothing is waited for as long as was said, and no line is lost', async () => {
    let isUp = false;
    const server = createServer((request, response) => {
      request.resume();
      const body = {
        id: 'a',
        object: 'chat.completion',
        model: 'llama',
        choices: [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'stop' }],
      };
      if (request.url?.endsWith('/models')) response.end('{"object":"list","data":[]}');
      else if (isUp) response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
      else response.writeHead(401).end('{"error":{"message":"No."}}');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
    const args = ['run', 'in.jsonl', '--upstream', url, '--wait-for-upstream', '300ms'];

    const hopeless = await offpeak(args, { cwd: place.dir });
    isUp = true;
    const last = await offpeak(args, { cwd: place.dir });
    server.close();
    server.closeAllConnections();

    expect(hopeless.code).toBe(6);
    expect(hopeless.stderr).toContain('the same command goes on from here');
    expect(last.code).toBe(0);
    expect(lines(await read('in.output.jsonl'))).toHaveLength(3);
  });

  test('Ctrl-C is answered at once; again, it ends at once, and both say that the run can go on', async () => {
    await upstream.script({ hangChance: 1 });
    const running = start(['run', 'in.jsonl', '--upstream', upstream.url], { cwd: place.dir });
    while ((await upstream.stats()).inFlight < 3) await running.until(/in_progress/);

    running.child.kill('SIGINT');
    await running.until(/stopping: requests in flight get 5 s to finish; again \(Ctrl-C\) to end now/);
    running.child.kill('SIGINT');

    expect(await running.ended).toMatchObject({ code: 5 });
  });
});
