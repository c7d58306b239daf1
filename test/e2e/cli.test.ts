import { execFileSync } from 'node:child_process';
import { lstat, mkdir, symlink, writeFile } from 'node:fs/promises';
import { delimiter, dirname } from 'node:path';
import { describe, expect, test } from 'vitest';
import { EXAMPLE, lines, OFFPEAK, Place, requests, words } from './offpeak.ts';

const place = new Place();

describe('which service a command talks to', () => {
  test('if nothing listens on this machine, the command says how to start one and how to name another', async () => {
    const { code, stderr } = await place.offpeak(words`files list --endpoint ${await place.nobody()}`);

    expect(code).toBe(3);
    expect(stderr).toMatch(/offpeak serve starts a service here; --endpoint URL names another one\./);
  });

  test('it is that of this directory rather than a cloud service of the environment, and it is printed', async () => {
    let asked = 0;
    const url = await place.listen((_, response) => {
      asked += 1;
      response.end('{"id":"file-1"}');
    });
    const own = await place.serve();
    const env = { AZURE_OPENAI_ENDPOINT: url, AZURE_OPENAI_API_KEY: 'canary', OFFPEAK_API_KEY: own.key };

    const created = await place.offpeak(['batches', 'create', '--file', EXAMPLE, '--watch'], { env });
    const unkeyed = await place.offpeak(['files', 'list'], {
      env: { AZURE_OPENAI_ENDPOINT: url, AZURE_OPENAI_API_KEY: 'canary' },
    });

    expect(created.code).toBe(0);
    expect(created.stderr).toMatch(`service: ${own.url}/openai (the service of this directory)\n`);
    expect(unkeyed.code).toBe(1);
    expect(unkeyed.stderr).toContain('No key was sent: give --api-key KEY, or set OFFPEAK_API_KEY.');
    expect(asked).toBe(0);
  });

  test('after it has ended, its directory names no service', async () => {
    const own = await place.serve();
    expect(await place.exists('.offpeak', 'service.json')).toBe(true);
    own.child.kill('SIGKILL');
    await own.ended;

    const { stderr } = await place.offpeak(['files', 'list'], { env: { OFFPEAK_PORT: '9' } });

    expect(stderr).toContain('service: http://127.0.0.1:9/openai (by default, as OFFPEAK_PORT is set)');
  });

  test('of two cloud services neither is called, and both are named', async () => {
    let asked = 0;
    const url = await place.listen((_, response) => {
      asked += 1;
      response.end('{}');
    });
    const env = {
      AZURE_OPENAI_ENDPOINT: 'https://mine.invalid',
      OPENAI_BASE_URL: `${url}/v1`,
      OPENAI_API_KEY: 'k',
    };

    const { code, stderr } = await place.offpeak(['batches', 'create', '--file', EXAMPLE], { env });

    expect(code).toBe(2);
    expect(stderr).toContain('https://mine.invalid (AZURE_OPENAI_ENDPOINT)');
    expect(stderr).toContain(`${url}/v1 (OPENAI_BASE_URL)`);
    expect(asked).toBe(0);
  });

  test('variables that Kubernetes sets for a Service of that name stop nothing', async () => {
    const env = {
      OFFPEAK_PORT: 'tcp://10.0.0.1:8080',
      OFFPEAK_SERVICE_HOST: '10.0.0.1',
      OFFPEAK_SERVICE_PORT: '8080',
    };
    const server = await place.serve([], { env });

    const listed = await place.offpeak(['files', 'list'], { env: { ...env, ...server.env } });
    const typo = await place.offpeak(['serve'], { env: { ...env, OFFPEAK_LOG_LEVL: 'debug' } });

    expect(await server.until(/OFFPEAK_PORT: set by Kubernetes/)).toContain('ignored as an option');
    expect(listed.code).toBe(0);
    expect(typo.code).toBe(2);
    expect(typo.stderr).toContain("Did you mean 'OFFPEAK_LOG_LEVEL'?");
  });
});

describe('what a command reads and writes', () => {
  test('a file from standard input or a pipe is uploaded whole', async () => {
    const { env } = await place.serve();
    execFileSync('mkfifo', [place.path('pipe')]);
    const input = requests(5, 'gpt-4o-batch-deployment');
    await place.write('in.jsonl', input);

    const uploaded = await place.offpeak(['files', 'upload', '-', '--json'], { env, stdin: input });
    const created = await place.offpeak(words`batches create --file - --watch`, { env, stdin: input });
    const writing = place.start(['-c', 'cat in.jsonl > pipe'], { launcher: '/bin/sh' });
    const piped = await place.offpeak(['batches', 'create', '--file', 'pipe', '--watch'], { env });

    expect(JSON.parse(uploaded.stdout)).toMatchObject({ filename: 'stdin.jsonl', bytes: input.length });
    expect([created.code, piped.code]).toEqual([0, 0]);
    expect((await writing.ended).code).toBe(0);
  });

  test('a download to - is on standard output, and one to /dev/null leaves the device as it is', async () => {
    const { cli } = await place.serve();
    const id = (await cli('batches', 'create', '--file', EXAMPLE, '--watch')).stdout.split(' ')[0] ?? '';
    await mkdir(place.path('elsewhere'));
    await writeFile(place.path('elsewhere', 'real.jsonl'), 'old');
    await symlink('elsewhere/real.jsonl', place.path('link.jsonl'));

    const shown = await cli('batches', 'download', id, '-o', '-', '-e', '/dev/null', '--json');
    const linked = await cli('batches', 'download', id, '-o', 'link.jsonl', '-e', '/dev/null');
    const refused = await cli('batches', 'download', id, '-o', 'a.jsonl', '-e', '/proc/b.jsonl');

    expect(lines(shown.stdout)).toHaveLength(3);
    expect((await lstat('/dev/null')).isCharacterDevice()).toBe(true);
    expect(linked.code).toBe(0);
    expect((await lstat(place.path('link.jsonl'))).isSymbolicLink()).toBe(true);
    expect(await place.read('elsewhere', 'real.jsonl')).toBe(shown.stdout);
    expect(refused.code).toBe(2);
    expect(await place.exists('a.jsonl')).toBe(false);
  });

  test('the upload of a refused batch is deleted again', async () => {
    const { cli } = await place.serve();

    const refused = await cli('batches', 'create', '--file', EXAMPLE, '--url', '/nowhere');
    const listed = await cli('files', 'list', '--json');

    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('The upload was deleted again.');
    expect(JSON.parse(listed.stdout)).toMatchObject({ data: [], has_more: false });
  });

  test('an upload is named if its batch may or may not exist', async () => {
    const url = await place.listen((request, response) => {
      request.resume();
      if (request.url?.startsWith('/openai/files')) response.end('{"id":"file-7"}');
      else response.writeHead(503).end('{"error":{"message":"Later."}}');
    });

    const { stderr } = await place.offpeak(['batches', 'create', '--file', EXAMPLE, '--endpoint', url]);

    expect(stderr).toContain('The upload is still there, as file-7');
  });

  test('at most 20 faults are printed, with the count of the rest', async () => {
    const { cli } = await place.serve();
    await place.write('bad.jsonl', 'oops\n'.repeat(50));

    const few = await place.offpeak(['validate', 'bad.jsonl']);
    const every = await place.offpeak(['validate', 'bad.jsonl', '--all']);
    const created = await cli('batches', 'create', '--file', 'bad.jsonl');

    expect(few.stdout.split('\n')).toHaveLength(20 + 3);
    expect(few.stdout).toContain('… and 30 more: --all prints them, --json too');
    expect(every.stdout.split('\n')).toHaveLength(50 + 2);
    expect(created.code).toBe(4);
    expect(created.stderr.match(/^Line /gm)).toHaveLength(20);
    expect(created.stderr).toMatch(/The upload is kept as file-/);
  });
});

describe('words', () => {
  test.each([
    [['help'], 0, /Usage: offpeak/],
    [['help', 'run'], 0, /Usage: offpeak run/],
    [['version'], 0, /^\d+\.\d+\.\d+\n$/],
    [['-v'], 0, /^\d+\.\d+\.\d+\n$/],
    [['--version'], 0, /^\d+\.\d+\.\d+\n$/],
  ])('%j is understood', async (args, code, shown) => {
    const ended = await place.offpeak(args);

    expect(ended.code).toBe(code);
    expect(ended.stdout).toMatch(shown);
  });

  test('--help has every exit code', async () => {
    const { stdout } = await place.offpeak(['--help']);
    expect(stdout.match(/^ {2}\d {2}\S/gm)).toHaveLength(7);
  });

  test('the placeholder of an example is refused as a key, before anything is sent', async () => {
    const { code, stderr } = await place.offpeak(['files', 'list'], { env: { OFFPEAK_API_KEY: '…' } });

    expect(code).toBe(2);
    expect(stderr).toBe(
      'offpeak: OFFPEAK_API_KEY is no key: it is the placeholder of an example. Set it to the key itself. ' +
        'Nothing was sent.\n',
    );
  });

  test('a line to copy names a command that works here, at the same service and resource', async () => {
    const { url, key } = await place.serve();
    const here = words`--endpoint ${url} --resource default --api-key ${key}`;
    const args = [...words`batches create --file ${EXAMPLE} --watch`, ...here];
    const onPath = { PATH: `${dirname(OFFPEAK)}${delimiter}${process.env['PATH']}` };

    const called = await place.offpeak(args);
    const found = await place.offpeak(args, { env: onPath });

    const [id = ''] = called.stdout.split(' ');
    expect(called.stderr).toContain(
      `next: ${OFFPEAK} batches download ${id} --resource default --endpoint ${url} --api-key KEY\n`,
    );
    expect(found.stderr).toMatch(/^next: offpeak batches download /m);
  });

  test('deleting a resource asks first, and needs --yes where nobody can be asked', async () => {
    const { cli } = await place.serve();
    await cli('resources', 'create', 'team-a');

    const unasked = await cli('resources', 'delete', 'team-a');
    const kept = await cli('resources', 'show', 'team-a');
    const deleted = await cli('resources', 'delete', 'team-a', '--yes');
    const listed = await cli('resources', 'list', '--json');

    expect(unasked.code).toBe(2);
    expect(unasked.stderr).toContain('add --yes');
    expect(kept.code).toBe(0);
    expect(deleted).toMatchObject({ code: 0, stdout: 'team-a  deleted\n' });
    expect(JSON.parse(listed.stdout)).toMatchObject({ data: [{ name: 'default' }], has_more: false });
  });

  test('lists are objects, as on the wire, and a deployment says that nothing is filtered', async () => {
    const { cli } = await place.serve();

    for (const args of [['resources', 'list'], ['deployments', 'list'], ['models'], ['quota'], ['audit']]) {
      const { stdout } = await cli(...args, '--json');
      expect(Object.keys(JSON.parse(stdout) as object)).toContain('data');
    }
    const shown = await cli('deployments', 'show', 'gpt-4o-batch-deployment');

    expect(shown.stdout).toMatch(/^content filter +none$/m);
  });
});
