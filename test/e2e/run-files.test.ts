import { execFileSync } from 'node:child_process';
import { link, lstat, readdir, symlink } from 'node:fs/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { LedgerUpstream } from '../support/ledger-upstream.ts';
import { EXAMPLE, lines, OFFPEAK, Place, requests, words } from './offpeak.ts';

const place = new Place();
let upstream: LedgerUpstream;
beforeEach(async () => {
  upstream = await place.ledger();
  await place.write('in.jsonl', requests(3));
});

const run = (...args: string[]) => place.offpeak(['run', ...args, '--upstream', upstream.url]);
const sent = async () => (await upstream.stats()).requests;
const shell = (command: string) => place.offpeak(['-c', command], { launcher: '/bin/sh' });

describe('where a run writes to', () => {
  test('- is standard output, which gets nothing but answers', async () => {
    const { code, stdout, stderr } = await run('in.jsonl', '-o', '-', '-e', '/dev/null', '--json');

    expect(code).toBe(0);
    expect(lines(stdout)).toHaveLength(3);
    expect(stderr).toContain('"completed":3');
    expect((await lstat('/dev/null')).isCharacterDevice()).toBe(true);
    expect((await readdir(place.dir)).filter((name) => !name.startsWith('.'))).toEqual(['in.jsonl']);
  });

  test('input from - is answered on standard output', async () => {
    const { code, stdout } = await place.offpeak(['run', '-', '--upstream', upstream.url], {
      stdin: requests(4),
    });

    expect(code).toBe(0);
    expect(lines(stdout)).toHaveLength(4);
    expect(await place.read('stdin.errors.jsonl')).toBe('');
  });

  test('a pipe is written into, a symbolic link stays, and its target is whole', async () => {
    execFileSync('mkfifo', [place.path('pipe')]);
    await symlink('real.jsonl', place.path('link.jsonl'));
    const reading = place.start([place.path('pipe')], { launcher: '/bin/cat' });

    const { code } = await run('in.jsonl', '-o', 'link.jsonl', '-e', 'pipe');

    expect(code).toBe(0);
    expect(lines(await place.read('real.jsonl'))).toHaveLength(3);
    expect((await lstat(place.path('link.jsonl'))).isSymbolicLink()).toBe(true);
    expect((await lstat(place.path('pipe'))).isFIFO()).toBe(true);
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
    await link(place.path('in.jsonl'), place.path('hard.jsonl'));

    const { code, stderr } = await run('in.jsonl', ...flags);

    expect(code).toBe(2);
    expect(stderr).toMatch(/cannot be written|are the same file/);
    expect(await sent()).toBe(0);
    expect(await readdir(place.dir)).toEqual(['hard.jsonl', 'in.jsonl']);
  });

  test('a terminal that is not there is refused before anything is sent', async () => {
    const args = ['--wait', OFFPEAK, 'run', 'in.jsonl', '-o', '/dev/tty', '--upstream', upstream.url];
    const { code, stderr } = await place.offpeak(args, { launcher: 'setsid' });

    expect(code).toBe(2);
    expect(stderr).toContain('/dev/tty cannot be written');
    expect(await sent()).toBe(0);
  });

  test('a reader that goes away loses nothing: the same command writes it again and sends nothing', async () => {
    await place.write('in.jsonl', requests(400));
    const command = `'${OFFPEAK}' run in.jsonl -o - --upstream ${upstream.url}`;
    const first = await shell(`${command} | true`);

    const again = await run('in.jsonl', '-o', '-');

    expect(first.stderr).toContain('standard output was closed before everything was written');
    expect(again.code).toBe(0);
    expect(lines(again.stdout)).toHaveLength(400);
    expect(await sent()).toBe(400);
  });
});

test('a full standard output loses nothing, and is an error in a sentence', async () => {
  const command = `'${OFFPEAK}' run in.jsonl -o - --upstream ${upstream.url} > /dev/full`;
  const first = await shell(command);
  const version = await shell(`'${OFFPEAK}' version > /dev/full`);

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
  test('without --upstream the run is refused, and no answer is invented', async () => {
    const { code, stderr } = await place.offpeak(['run', EXAMPLE, '-o', 'out.jsonl']);

    expect(code).toBe(2);
    expect(stderr).toContain('run needs an upstream that answers: --upstream URL');
    expect(await readdir(place.dir)).toEqual(['in.jsonl']);
  });

  test('simulated answers are called so on standard error and in JSON, also from a simulator in another process', async () => {
    const { url } = await place.simulator();

    for (const [name, at] of [
      ['inner', 'simulator'],
      ['outer', url],
    ] as const) {
      const args = words`run ${EXAMPLE} -o ${name}.jsonl --upstream ${at} --json`;
      const { stdout, stderr } = await place.offpeak(args);
      expect(stderr).toContain('The answers are simulated: no model is asked.');
      expect(JSON.parse(stdout)).toMatchObject({ simulated: true });
    }
    const real = await run('in.jsonl', '--json');

    expect(JSON.parse(real.stdout)).toMatchObject({ simulated: false });
    expect(real.stderr).not.toContain('simulated');
  });

  test('an upstream that accepts nothing is waited for as long as --wait-for-upstream says, and no request is lost', async () => {
    let isUp = false;
    const url = await place.listen((request, response) => {
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
    });
    const args = words`run in.jsonl --upstream ${url}/v1 --wait-for-upstream 300ms`;

    const hopeless = await place.offpeak(args);
    isUp = true;
    const last = await place.offpeak(args);

    expect(hopeless.code).toBe(6);
    expect(hopeless.stderr).toContain('the same command goes on from here');
    expect(last.code).toBe(0);
    expect(lines(await place.read('in.output.jsonl'))).toHaveLength(3);
  });

  test('Ctrl-C stops the run after the requests in flight, and a second one stops it at once', async () => {
    await upstream.script({ hangChance: 1 });
    const running = place.start(['run', 'in.jsonl', '--upstream', upstream.url]);
    while ((await upstream.stats()).inFlight < 3) await running.until(/in_progress/);

    running.child.kill('SIGINT');
    await running.until(/stopping: requests in flight get 5 s to finish; again \(Ctrl-C\) to end now/);
    running.child.kill('SIGINT');

    expect(await running.ended).toMatchObject({ code: 5 });
  });
});
