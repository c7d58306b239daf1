import { readFile, stat } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { EXAMPLE, OFFPEAK, Place, requests, words } from './offpeak.ts';

const place = new Place();

/** Starts the service on a terminal, which Python has. */
const onTerminal = (...flags: string[]) =>
  place.start(
    ['-c', 'import pty, sys; pty.spawn(sys.argv[1:])', OFFPEAK, 'serve', '--ballast', '0', ...flags],
    { launcher: 'python3' },
  );

describe('the service and its command line', () => {
  test('a file is uploaded, its batch created, watched, shown, listed and downloaded, and the file deleted', async () => {
    const { cli } = await place.serve();

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
    expect(await place.ids('answers.jsonl')).toEqual(['task-0', 'task-1', 'task-2']);
    expect(await place.read(`${batchId}_errors.jsonl`)).toBe('');
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
    const { url, key } = await place.serve();
    const azure = { AZURE_OPENAI_ENDPOINT: url, AZURE_OPENAI_API_KEY: key };
    const openai = { OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: key };

    const asAzure = await place.offpeak(['batches', 'create', '--file', EXAMPLE, '--watch'], { env: azure });
    const asOpenai = await place.offpeak(['batches', 'list', '--json'], { env: openai });

    expect(asAzure.code).toBe(0);
    expect(JSON.parse(asOpenai.stdout)).toMatchObject({ data: [{ status: 'completed' }] });
  });

  test('watching a batch with faults ends with 4, and prints them', async () => {
    const { cli } = await place.serve();
    await place.write('bad.jsonl', `${requests(1, 'nobody')}oops\n`);

    const { code, stderr } = await cli('batches', 'create', '--file', 'bad.jsonl', '--watch');

    expect(code).toBe(4);
    expect(stderr).toMatch(/Line 2: .*\(invalid_json_line\)/);
  });

  test('a wrong key is refused with what to check, and a service that is not there ends with 3', async () => {
    const { env } = await place.serve();

    const refused = await place.offpeak(['files', 'list'], { env: { ...env, OFFPEAK_API_KEY: 'canary' } });
    const nobody = await place.offpeak(['files', 'list', '--endpoint', 'http://127.0.0.1:9']);

    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('Check the key: --api-key or OFFPEAK_API_KEY.');
    expect(refused.stderr).not.toContain('canary');
    expect(nobody.code).toBe(3);
  });
});

describe('starting', () => {
  test('the first start makes a key, which later starts accept and do not show', async () => {
    const first = await place.serve();
    await first.stop();
    const second = await place.serve();

    expect(first.key).toMatch(/^[0-9a-f]{64}$/);
    expect(second.key).toBe('');
    const env = { OFFPEAK_ENDPOINT: second.url, OFFPEAK_API_KEY: first.key };
    expect((await place.offpeak(['files', 'list'], { env })).code).toBe(0);
  });

  test('on a terminal it shows the address, the keys and a line to try', async () => {
    const running = onTerminal('--port', '0');
    const text = await running.until(/Answers are simulated\. Name/);
    // The end of the terminal stops the service.
    running.child.kill('SIGKILL');

    expect(text).toMatch(/Offpeak is ready at http:\/\/127\.0\.0\.1:\d+/);
    expect(text).toMatch(/ key +[0-9a-f]{64}/);
    expect(text).toMatch(/admin key +[0-9a-f]{64}/);
    expect(text).toMatch(/export OFFPEAK_API_KEY=[0-9a-f]{64} OFFPEAK_ENDPOINT=http/);
    expect(text).toMatch(/curl "http:\/\/127\.0\.0\.1:\d+\/openai\/files\?api-version=2024-10-21"/);
    expect(text).toMatch(/\d\d:\d\d:\d\d \S*info.* the service is up \S*url=http/);
    while (await place.exists('.offpeak', 'offpeak.db-wal'));
    expect(await place.exists('.offpeak', 'first-keys.env')).toBe(false);
  });

  test.each([[[]], [['--json']]])(
    'without a terminal keys go to a file that only the owner can read, and its path is printed (%j)',
    async (flags) => {
      const running = place.start(['serve', '--port', '0', '--ballast', '0', ...flags]);
      const keysFile = place.path('.offpeak', 'first-keys.env');
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
    const { url } = await place.serve();
    const other = ['--data-dir', 'other', '--port'];
    const keysFile = place.path('other', 'first-keys.env');

    const failed = await onTerminal(...other, new URL(url).port).ended;
    const next = onTerminal(...other, '0');
    const shown = await next.until(/Answers are simulated\. Name/);
    next.child.kill('SIGKILL');
    await next.ended;

    expect(failed.stdout.replaceAll(/\s+/g, ' ')).toContain('The keys that were made are in');
    expect(await readFile(keysFile, 'utf8')).toMatch(/^OFFPEAK_API_KEY=[0-9a-f]{64}\nOFFPEAK_ADMIN_KEY=/);
    expect(shown.replaceAll(/\s+/g, ' ')).toContain('that no terminal has shown are in');
  });

  test('a second server on the same data directory refuses', async () => {
    await place.serve(['--data-dir', 'data']);

    const second = await place.offpeak(['serve', '--port', '0', '--data-dir', 'data']);

    expect(second.code).toBe(1);
    expect(second.stderr).toContain('Another Offpeak server is using the data directory');
  });

  test('a port that is taken is named', async () => {
    const { url } = await place.serve();

    const port = new URL(url).port;
    const second = await place.offpeak(['serve', '--port', port, '--data-dir', 'other']);

    expect(second.code).toBe(1);
    expect(second.stderr).toContain(
      `cannot listen on 127.0.0.1:${port}: the port is taken by another program.`,
    );
  });

  test('every fault of the configuration is printed at once', async () => {
    await place.write('offpeak.yaml', 'prot: 8080\nconcurrency: many\n');

    const { code, stderr } = await place.offpeak(['serve', '--log-level', 'loud'], {
      env: { OFFPEAK_PORT: 'abc' },
    });

    expect(code).toBe(2);
    expect(stderr).toContain("offpeak.yaml:1: unknown key 'prot'. Did you mean 'port'?");
    expect(stderr).toContain('offpeak.yaml:2: concurrency: expected a whole number');
    expect(stderr).toContain('--log-level: expected one of');
    expect(stderr).toContain('OFFPEAK_PORT: expected a port number');
  });

  test('keys of cloud services in the environment are not used', async () => {
    const upstream = await place.ledger({ file: place.path('ledger.jsonl') });
    const server = await place.serve(
      words`--upstream ${upstream.url} --deployment gpt-4o-batch-deployment=m`,
      { env: { OPENAI_API_KEY: 'canary', AZURE_OPENAI_API_KEY: 'canary' } },
    );

    await server.cli('batches', 'create', '--file', EXAMPLE, '--watch');

    expect((await upstream.stats()).requests).toBe(3);
    expect(await place.read('ledger.jsonl')).not.toContain('canary');
  });
});

describe('stopping', () => {
  test('SIGTERM lets requests in flight finish, and the next start sends none of them again', async () => {
    const upstream = await place.ledger({ script: { latencyMs: 300 } });
    await place.write('in.jsonl', requests(40));
    const args = ['--upstream', upstream.url, '--deployment', 'llama', '--concurrency', '4'];
    const first = await place.serve(args);
    const id = (await first.cli('batches', 'create', '--file', 'in.jsonl')).stdout.trim();
    await upstream.untilRequests(8);

    const { code, stderr } = await first.stop();
    const second = await place.serve(args);
    const env = { ...first.env, OFFPEAK_ENDPOINT: second.url };
    const watched = await place.offpeak(['batches', 'watch', id], { env });

    expect(code).toBe(0);
    expect(stderr).toContain('"event":"service.stopping","signal":"SIGTERM","waitMs":30000');
    expect(stderr).toContain('"event":"service.stopped"');
    expect(watched.code).toBe(0);
    expect(await upstream.stats()).toMatchObject({ requests: 40, distinctKeys: 40 });
  });

  test('a second signal ends it at once', async () => {
    const upstream = await place.ledger({ script: { hangChance: 1 } });
    await place.write('in.jsonl', requests(4));
    const server = await place.serve(['--upstream', upstream.url, '--deployment', 'llama']);
    await server.cli('batches', 'create', '--file', 'in.jsonl');
    await upstream.untilRequests(1);

    server.child.kill('SIGINT');
    await server.until(/service\.stopping/);
    server.child.kill('SIGINT');

    expect((await server.ended).code).toBe(1);
  });
});
