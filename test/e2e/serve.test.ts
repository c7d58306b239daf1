import { access, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startLedgerUpstream, type LedgerUpstream } from '../support/ledger-upstream.ts';
import { EXAMPLE, lines, offpeak, OFFPEAK, requests, scratch, serve, start, type Server } from './offpeak.ts';

let place: Awaited<ReturnType<typeof scratch>>;
let servers: Server[] = [];
let upstream: LedgerUpstream | undefined;
beforeEach(async () => {
  place = await scratch();
});
afterEach(async () => {
  for (const { child, ended } of servers) {
    child.kill('SIGKILL');
    await ended;
  }
  servers = [];
  await upstream?.stop();
  upstream = undefined;
  await place.remove();
});

async function startServer(args: readonly string[] = [], env: Record<string, string> = {}): Promise<Server> {
  const server = await serve(args, { cwd: place.dir, env });
  servers.push(server);
  return server;
}

describe('the service and its command line', () => {
  test('upload, create, watch, get, list, download, delete', async () => {
    const { env } = await startServer();
    const cli = (...args: string[]) => offpeak(args, { cwd: place.dir, env });

    const uploaded = await cli('files', 'upload', EXAMPLE);
    const fileId = uploaded.stdout.trim();
    const created = await cli('batches', 'create', '--input-file-id', fileId, '--metadata', 'team=search');
    const batchId = created.stdout.trim();
    const watched = await cli('batches', 'watch', batchId);
    const shown = await cli('batches', 'get', batchId, '--json');
    const listed = await cli('batches', 'list');
    const downloaded = await cli('batches', 'download', batchId, '-o', 'answers.jsonl');
    const files = await cli('files', 'list', '--purpose', 'batch', '--json');
    const content = await cli('files', 'download', fileId);
    const deleted = await cli('files', 'delete', fileId);
    const gone = await cli('files', 'get', fileId);

    expect(fileId).toMatch(/^file-[0-9a-f]{32}$/);
    expect(batchId).toMatch(/^batch_/);
    expect(watched).toMatchObject({ code: 0, stdout: `${batchId}  completed\n` });
    expect(JSON.parse(shown.stdout)).toMatchObject({
      id: batchId,
      status: 'completed',
      metadata: { team: 'search' },
      request_counts: { total: 3, completed: 3, failed: 0 },
    });
    expect(listed.stdout).toMatch(new RegExp(`^${batchId} {2}completed {2}3/3 {2}`));
    expect(downloaded.code).toBe(0);
    const answers = await readFile(join(place.dir, 'answers.jsonl'), 'utf8');
    expect(lines(answers).map(({ custom_id }) => custom_id)).toEqual(['task-0', 'task-1', 'task-2']);
    expect(await readFile(join(place.dir, `${batchId}_errors.jsonl`), 'utf8')).toBe('');
    expect(JSON.parse(files.stdout)).toMatchObject({
      object: 'list',
      data: [{ id: fileId, filename: 'test.jsonl' }],
      has_more: false,
    });
    expect(content.stdout).toBe(await readFile(EXAMPLE, 'utf8'));
    expect(deleted).toMatchObject({ code: 0, stdout: `${fileId}  deleted\n` });
    expect(gone.code).toBe(1);
  });

  test("clients speak OpenAI's style to a URL that ends in /v1, and Azure's to others", async () => {
    const { url, key } = await startServer();
    const azure = { AZURE_OPENAI_ENDPOINT: url, AZURE_OPENAI_API_KEY: key };
    const openai = { OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: key };

    const asAzure = await offpeak(['batches', 'create', '--file', EXAMPLE, '--watch'], {
      cwd: place.dir,
      env: azure,
    });
    const asOpenai = await offpeak(['batches', 'list', '--json'], { cwd: place.dir, env: openai });

    expect(asAzure.code).toBe(0);
    expect(JSON.parse(asOpenai.stdout)).toMatchObject({ data: [{ status: 'completed' }] });
  });

  test('a batch with faults ends its watch with 4, and tells them', async () => {
    const { env } = await startServer();
    await writeFile(join(place.dir, 'bad.jsonl'), `${requests(1, 'nobody')}oops\n`);

    const { code, stderr } = await offpeak(['batches', 'create', '--file', 'bad.jsonl', '--watch'], {
      cwd: place.dir,
      env,
    });

    expect(code).toBe(4);
    expect(stderr).toMatch(/Line 2: .*\(invalid_json_line\)/);
  });

  test('a wrong key is refused with what to check; no service is exit code 3', async () => {
    const { env } = await startServer();

    const refused = await offpeak(['files', 'list'], {
      cwd: place.dir,
      env: { ...env, OFFPEAK_API_KEY: 'canary' },
    });
    const nobody = await offpeak(['files', 'list', '--endpoint', 'http://127.0.0.1:9'], { cwd: place.dir });

    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('Check the key: --api-key or OFFPEAK_API_KEY.');
    expect(refused.stderr).not.toContain('canary');
    expect(nobody.code).toBe(3);
  });
});

describe('starting', () => {
  test('the first start makes a key; the next ones know it and do not show it', async () => {
    const first = await startServer();
    first.child.kill('SIGTERM');
    await first.ended;
    const second = await startServer();

    expect(first.key).toMatch(/^[0-9a-f]{64}$/);
    expect(second.key).toBe('');
    const env = { OFFPEAK_ENDPOINT: second.url, OFFPEAK_API_KEY: first.key };
    expect((await offpeak(['files', 'list'], { cwd: place.dir, env })).code).toBe(0);
  });

  test('on a terminal it shows the address, the keys and a line to try', async () => {
    const running = start(['-c', ON_A_TERMINAL, OFFPEAK, 'serve', '--port', '0', '--ballast', '0'], {
      cwd: place.dir,
      launcher: 'python3',
    });
    const text = await running.until(/Answers are simulated\. Name/);
    // The terminal is closed, which stops the service.
    running.child.kill('SIGKILL');

    expect(text).toMatch(/Offpeak is ready at http:\/\/127\.0\.0\.1:\d+/);
    expect(text).toMatch(/ key +[0-9a-f]{64}/);
    expect(text).toMatch(/admin key +[0-9a-f]{64}/);
    expect(text).toMatch(/export OFFPEAK_API_KEY=[0-9a-f]{64} OFFPEAK_ENDPOINT=http/);
    expect(text).toMatch(/curl "http:\/\/127\.0\.0\.1:\d+\/openai\/files\?api-version=2024-10-21"/);
    expect(text).toMatch(/\d\d:\d\d:\d\d \S*info.* the service is up \S*url=http/);
    while (
      await access(join(place.dir, '.offpeak', 'offpeak.db-wal')).then(
        () => true,
        () => false,
      )
    );
    await expect(access(join(place.dir, '.offpeak', 'first-keys.env'))).rejects.toThrow('ENOENT');
  });

  test.each([[[]], [['--json']]])(
    'elsewhere keys go to a file that the owner alone can read, and that is named (%j)',
    async (flags) => {
      const running = start(['serve', '--port', '0', '--ballast', '0', ...flags], { cwd: place.dir });
      const keysFile = join(place.dir, '.offpeak', 'first-keys.env');
      await running.until(/"?(keys_file|Try it)/);
      running.child.kill('SIGTERM');
      const { code, stdout, stderr } = await running.ended;

      expect(code).toBe(0);
      expect(stdout + stderr).not.toMatch(/[0-9a-f]{64}/);
      expect(stdout).toContain(keysFile);
      expect(stderr).toContain(
        `"event":"key.made","resource":"default","slot":1,"actor":"configuration","path":${JSON.stringify(keysFile)}`,
      );
      expect((await stat(keysFile)).mode & 0o777).toBe(0o600);
      expect(await readFile(keysFile, 'utf8')).toMatch(
        /^OFFPEAK_API_KEY=[0-9a-f]{64}\nOFFPEAK_ADMIN_KEY=[0-9a-f]{64}\n$/,
      );
    },
  );

  test('keys of a start that failed on a terminal are not lost', async () => {
    const { url } = await startServer();
    const onTerminal = (...flags: string[]) =>
      start(['-c', ON_A_TERMINAL, OFFPEAK, 'serve', '--data-dir', 'other', '--ballast', '0', ...flags], {
        cwd: place.dir,
        launcher: 'python3',
      });
    const keysFile = join(place.dir, 'other', 'first-keys.env');

    const failed = await onTerminal('--port', new URL(url).port).ended;
    const next = onTerminal('--port', '0');
    const shown = await next.until(/Answers are simulated\. Name/);
    next.child.kill('SIGKILL');
    await next.ended;

    expect(failed.stdout.replaceAll(/\s+/g, ' ')).toContain('The keys that were made are in');
    expect(await readFile(keysFile, 'utf8')).toMatch(/^OFFPEAK_API_KEY=[0-9a-f]{64}\nOFFPEAK_ADMIN_KEY=/);
    expect(shown.replaceAll(/\s+/g, ' ')).toContain('that no terminal has shown are in');
  });

  test('a second server on the same data directory refuses', async () => {
    await startServer(['--data-dir', 'data']);

    const second = await offpeak(['serve', '--port', '0', '--data-dir', 'data'], { cwd: place.dir });

    expect(second.code).toBe(1);
    expect(second.stderr).toContain('Another Offpeak server is using the data directory');
  });

  test('a port that is taken is named', async () => {
    const { url } = await startServer();

    const port = new URL(url).port;
    const second = await offpeak(['serve', '--port', port, '--data-dir', 'other'], { cwd: place.dir });

    expect(second.code).toBe(1);
    expect(second.stderr).toContain(
      `cannot listen on 127.0.0.1:${port}: the port is taken by another program.`,
    );
  });

  test('every fault of the configuration is told at once', async () => {
    await writeFile(join(place.dir, 'offpeak.yaml'), 'prot: 8080\nconcurrency: many\n');

    const { code, stderr } = await offpeak(['serve', '--log-level', 'loud'], {
      cwd: place.dir,
      env: { OFFPEAK_PORT: 'abc' },
    });

    expect(code).toBe(2);
    expect(stderr).toContain("offpeak.yaml:1: unknown key 'prot'. Did you mean 'port'?");
    expect(stderr).toContain('offpeak.yaml:2: concurrency: expected a whole number');
    expect(stderr).toContain('--log-level: expected one of');
    expect(stderr).toContain('OFFPEAK_PORT: expected a port number');
  });

  test('keys of cloud services in the environment are not used', async () => {
    upstream = await startLedgerUpstream({ file: join(place.dir, 'ledger.jsonl') });
    const server = await startServer(
      ['--upstream', upstream.url, '--deployment', 'gpt-4o-batch-deployment=m'],
      {
        OPENAI_API_KEY: 'canary',
        AZURE_OPENAI_API_KEY: 'canary',
      },
    );

    await offpeak(['batches', 'create', '--file', EXAMPLE, '--watch'], { cwd: place.dir, env: server.env });

    expect((await upstream.stats()).requests).toBe(3);
    expect(await readFile(join(place.dir, 'ledger.jsonl'), 'utf8')).not.toContain('canary');
  });
});

/** Python has terminals. */
const ON_A_TERMINAL = 'import pty, sys; pty.spawn(sys.argv[1:])';

describe('stopping', () => {
  test('SIGTERM lets requests in flight finish, and the next start sends none of them again', async () => {
    upstream = await startLedgerUpstream({ script: { latencyMs: 300 } });
    await writeFile(join(place.dir, 'in.jsonl'), requests(40));
    const args = ['--upstream', upstream.url, '--deployment', 'llama', '--concurrency', '4'];
    const first = await startServer(args);
    const cli = (env: Server['env'], ...rest: string[]) => offpeak(rest, { cwd: place.dir, env });
    const id = (await cli(first.env, 'batches', 'create', '--file', 'in.jsonl')).stdout.trim();
    while ((await upstream.stats()).requests < 8) await cli(first.env, 'batches', 'get', id);

    first.child.kill('SIGTERM');
    const { code, stderr } = await first.ended;
    const second = await startServer(args);
    const watched = await cli({ ...first.env, OFFPEAK_ENDPOINT: second.url }, 'batches', 'watch', id);

    expect(code).toBe(0);
    expect(stderr).toContain('"event":"service.stopping","signal":"SIGTERM","waitMs":30000');
    expect(stderr).toContain('"event":"service.stopped"');
    expect(watched.code).toBe(0);
    expect(await upstream.stats()).toMatchObject({ requests: 40, distinctKeys: 40 });
  });

  test('a second signal ends it at once', async () => {
    upstream = await startLedgerUpstream({ script: { hangChance: 1 } });
    await writeFile(join(place.dir, 'in.jsonl'), requests(4));
    const server = await startServer(['--upstream', upstream.url, '--deployment', 'llama']);
    await offpeak(['batches', 'create', '--file', 'in.jsonl'], { cwd: place.dir, env: server.env });
    while ((await upstream.stats()).inFlight === 0) await server.until(/url/);

    server.child.kill('SIGINT');
    await server.until(/service\.stopping/);
    server.child.kill('SIGINT');

    expect((await server.ended).code).toBe(1);
  });
});
