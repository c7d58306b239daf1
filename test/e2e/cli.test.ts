import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { access, lstat, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { delimiter, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EXAMPLE, lines, offpeak, OFFPEAK, requests, scratch, serve, start, type Server } from './offpeak.ts';

let place: Awaited<ReturnType<typeof scratch>>;
let server: Server | undefined;
let cloud: HttpServer | undefined;
beforeEach(async () => {
  place = await scratch();
});
afterEach(async () => {
  server?.child.kill('SIGKILL');
  await server?.ended;
  server = undefined;
  cloud?.close();
  cloud?.closeAllConnections();
  cloud = undefined;
  await place.remove();
});

async function startServer(args: readonly string[] = []): Promise<Server> {
  server = await serve(args, { cwd: place.dir });
  return server;
}

/** What stands in for a service of somebody else. */
async function startCloud(answer: RequestListener): Promise<string> {
  cloud = createServer(answer).listen(0, '127.0.0.1');
  await once(cloud, 'listening');
  return `http://127.0.0.1:${(cloud.address() as AddressInfo).port}`;
}

describe('which service a command talks to', () => {
  test('where nothing listens on this machine, how to start one and how to name another is told', async () => {
    const url = await startCloud(() => {});
    cloud?.close();

    const command = ['files', 'list', '--endpoint', url];
    const { code, stderr } = await offpeak(command, { cwd: place.dir });

    expect(code).toBe(3);
    expect(stderr).toMatch(/offpeak serve starts a service here; --endpoint URL names another one\./);
  });

  test('that of this directory, before a cloud service of the environment, and it is printed', async () => {
    let asked = 0;
    const url = await startCloud((_, response) => {
      asked += 1;
      response.end('{"id":"file-1"}');
    });
    const own = await startServer();
    const env = { AZURE_OPENAI_ENDPOINT: url, AZURE_OPENAI_API_KEY: 'canary', OFFPEAK_API_KEY: own.key };

    const created = await offpeak(['batches', 'create', '--file', EXAMPLE, '--watch'], {
      cwd: place.dir,
      env,
    });
    const unkeyed = await offpeak(['files', 'list'], {
      cwd: place.dir,
      env: { AZURE_OPENAI_ENDPOINT: url, AZURE_OPENAI_API_KEY: 'canary' },
    });

    expect(created.code).toBe(0);
    expect(created.stderr).toMatch(`service: ${own.url}/openai (the service of this directory)\n`);
    expect(unkeyed.code).toBe(1);
    expect(unkeyed.stderr).toContain('No key was sent: give --api-key KEY, or set OFFPEAK_API_KEY.');
    expect(asked).toBe(0);
  });

  test('after it has ended, its directory names no service', async () => {
    const own = await startServer();
    await access(join(place.dir, '.offpeak', 'service.json'));
    own.child.kill('SIGKILL');
    await own.ended;

    const { stderr } = await offpeak(['files', 'list'], { cwd: place.dir, env: { OFFPEAK_PORT: '9' } });

    expect(stderr).toContain('service: http://127.0.0.1:9/openai (by default, as OFFPEAK_PORT is set)');
  });

  test('of two cloud services none is asked: both are named', async () => {
    let asked = 0;
    const url = await startCloud((_, response) => {
      asked += 1;
      response.end('{}');
    });
    const env = {
      AZURE_OPENAI_ENDPOINT: 'https://mine.invalid',
      OPENAI_BASE_URL: `${url}/v1`,
      OPENAI_API_KEY: 'k',
    };

    const { code, stderr } = await offpeak(['batches', 'create', '--file', EXAMPLE], { cwd: place.dir, env });

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
    server = await serve([], { cwd: place.dir, env });

    const listed = await offpeak(['files', 'list'], { cwd: place.dir, env: { ...env, ...server.env } });
    const typo = await offpeak(['serve'], { cwd: place.dir, env: { ...env, OFFPEAK_LOG_LEVL: 'debug' } });

    expect(await server.until(/OFFPEAK_PORT: set by Kubernetes/)).toContain('ignored as an option');
    expect(listed.code).toBe(0);
    expect(typo.code).toBe(2);
    expect(typo.stderr).toContain("Did you mean 'OFFPEAK_LOG_LEVEL'?");
  });
});

describe('what a command reads and writes', () => {
  test('a file from standard input or a pipe is uploaded whole', async () => {
    const { env } = await startServer();
    execFileSync('mkfifo', [join(place.dir, 'pipe')]);
    const input = requests(5, 'gpt-4o-batch-deployment');
    await writeFile(join(place.dir, 'in.jsonl'), input);

    const uploaded = await offpeak(['files', 'upload', '-', '--json'], { cwd: place.dir, env, stdin: input });
    const created = await offpeak(['batches', 'create', '--file', '-', '--watch'], {
      cwd: place.dir,
      env,
      stdin: input,
    });
    const writing = start(['-c', 'cat in.jsonl > pipe'], { cwd: place.dir, launcher: '/bin/sh' });
    const piped = await offpeak(['batches', 'create', '--file', 'pipe', '--watch'], { cwd: place.dir, env });

    expect(JSON.parse(uploaded.stdout)).toMatchObject({ filename: 'stdin.jsonl', bytes: input.length });
    expect([created.code, piped.code]).toEqual([0, 0]);
    expect((await writing.ended).code).toBe(0);
  });

  test('a download to - and /dev/null is on standard output, and the device stays one', async () => {
    const { env } = await startServer();
    const cli = (...args: string[]) => offpeak(args, { cwd: place.dir, env });
    const id = (await cli('batches', 'create', '--file', EXAMPLE, '--watch')).stdout.split(' ')[0] ?? '';
    await mkdir(join(place.dir, 'elsewhere'));
    await writeFile(join(place.dir, 'elsewhere', 'real.jsonl'), 'old');
    await symlink('elsewhere/real.jsonl', join(place.dir, 'link.jsonl'));

    const shown = await cli('batches', 'download', id, '-o', '-', '-e', '/dev/null', '--json');
    const linked = await cli('batches', 'download', id, '-o', 'link.jsonl', '-e', '/dev/null');
    const refused = await cli('batches', 'download', id, '-o', 'a.jsonl', '-e', '/proc/b.jsonl');

    expect(lines(shown.stdout)).toHaveLength(3);
    expect((await lstat('/dev/null')).isCharacterDevice()).toBe(true);
    expect(linked.code).toBe(0);
    expect((await lstat(join(place.dir, 'link.jsonl'))).isSymbolicLink()).toBe(true);
    expect(await readFile(join(place.dir, 'elsewhere', 'real.jsonl'), 'utf8')).toBe(shown.stdout);
    expect(refused.code).toBe(2);
    await expect(access(join(place.dir, 'a.jsonl'))).rejects.toThrow('ENOENT');
  });

  test('a batch that is refused takes its upload back', async () => {
    const { env } = await startServer();
    const cli = (...args: string[]) => offpeak(args, { cwd: place.dir, env });

    const refused = await cli('batches', 'create', '--file', EXAMPLE, '--url', '/nowhere');
    const listed = await cli('files', 'list', '--json');

    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('The upload was deleted again.');
    expect(JSON.parse(listed.stdout)).toMatchObject({ data: [], has_more: false });
  });

  test('an upload whose batch is in doubt is named', async () => {
    const url = await startCloud((request, response) => {
      request.resume();
      if (request.url?.startsWith('/openai/files')) response.end('{"id":"file-7"}');
      else response.writeHead(503).end('{"error":{"message":"Later."}}');
    });

    const { stderr } = await offpeak(['batches', 'create', '--file', EXAMPLE, '--endpoint', url], {
      cwd: place.dir,
    });

    expect(stderr).toContain('The upload is still there, as file-7');
  });

  test('at most 20 faults are printed, with the count of the rest', async () => {
    const { env } = await startServer();
    await writeFile(join(place.dir, 'bad.jsonl'), 'oops\n'.repeat(50));

    const few = await offpeak(['validate', 'bad.jsonl'], { cwd: place.dir });
    const every = await offpeak(['validate', 'bad.jsonl', '--all'], { cwd: place.dir });
    const created = await offpeak(['batches', 'create', '--file', 'bad.jsonl'], { cwd: place.dir, env });

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
    const ended = await offpeak(args, { cwd: place.dir });

    expect(ended.code).toBe(code);
    expect(ended.stdout).toMatch(shown);
  });

  test('--help has every exit code and fits 80 columns', async () => {
    for (const args of [['--help'], ['batches', 'create', '--help'], ['deployments', 'create', '--help']]) {
      const { stdout } = await offpeak(args, { cwd: place.dir });
      for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
    }
    const { stdout } = await offpeak(['--help'], { cwd: place.dir });
    expect(stdout.match(/^ {2}\d {2}\S/gm)).toHaveLength(7);
  });

  test('a key that was copied as it stands is told, before anything is sent', async () => {
    const { code, stderr } = await offpeak(['files', 'list'], {
      cwd: place.dir,
      env: { OFFPEAK_API_KEY: '…' },
    });

    expect(code).toBe(2);
    expect(stderr).toBe(
      'offpeak: OFFPEAK_API_KEY is no key: it is the placeholder of an example. Set it to the key itself. ' +
        'Nothing was sent.\n',
    );
  });

  test('a line to copy names a command that works here, at the same service and resource', async () => {
    const { url, key } = await startServer();
    const args = [
      'batches',
      'create',
      '--file',
      EXAMPLE,
      '--watch',
      '--endpoint',
      url,
      '--resource',
      'default',
      '--api-key',
      key,
    ];
    const onPath = { PATH: `${dirname(OFFPEAK)}${delimiter}${process.env['PATH']}` };

    const called = await offpeak(args, { cwd: place.dir });
    const found = await offpeak(args, { cwd: place.dir, env: onPath });

    const [id = ''] = called.stdout.split(' ');
    expect(called.stderr).toContain(
      `next: ${OFFPEAK} batches download ${id} --resource default --endpoint ${url} --api-key KEY\n`,
    );
    expect(found.stderr).toMatch(/^next: offpeak batches download /m);
  });

  test('deleting a resource is asked for; where nobody can be asked it needs --yes', async () => {
    const { url, adminKey } = await startServer();
    const env = { OFFPEAK_ENDPOINT: url, OFFPEAK_ADMIN_KEY: adminKey };
    const cli = (...args: string[]) => offpeak(args, { cwd: place.dir, env });
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
    const { url, adminKey } = await startServer();
    const env = { OFFPEAK_ENDPOINT: url, OFFPEAK_ADMIN_KEY: adminKey };
    const cli = (...args: string[]) => offpeak(args, { cwd: place.dir, env });

    for (const args of [['resources', 'list'], ['deployments', 'list'], ['models'], ['quota'], ['audit']]) {
      const { stdout } = await cli(...args, '--json');
      expect(Object.keys(JSON.parse(stdout) as object)).toContain('data');
    }
    const shown = await cli('deployments', 'show', 'gpt-4o-batch-deployment');

    expect(shown.stdout).toMatch(/^content filter +none$/m);
  });
});
