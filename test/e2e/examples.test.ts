import { spawnSync } from 'node:child_process';
import { copyFile, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { pythonEnv } from '../support/as-a-reader.ts';
import { EXAMPLE, lines, offpeak, scratch, serve, start, type Running, type Server } from './offpeak.ts';

const EXAMPLES = fileURLToPath(new URL('../../examples', import.meta.url));
const example = (name: string): Promise<string> => readFile(join(EXAMPLES, name), 'utf8');
const ALL = ['task-0', 'task-1', 'task-2'];

let place: Awaited<ReturnType<typeof scratch>>;
const stop = async ({ child, ended }: Running): Promise<void> => {
  child.kill('SIGTERM');
  await ended;
};

describe('the clients, at the service of azure-emulator.yaml', () => {
  let server: Server;
  let env: Readonly<Record<string, string>>;
  beforeAll(async () => {
    place = await scratch();
    await symlink(
      fileURLToPath(new URL('../../node_modules', import.meta.url)),
      join(place.dir, 'node_modules'),
    );
    await Promise.all(
      (await readdir(EXAMPLES)).map((name) => copyFile(join(EXAMPLES, name), join(place.dir, name))),
    );
    server = await serve(['--config', 'azure-emulator.yaml'], { cwd: place.dir });
    env = {
      AZURE_OPENAI_ENDPOINT: server.url,
      AZURE_OPENAI_API_KEY: 'local-key',
      ...pythonEnv(),
    };
  });
  afterAll(async () => {
    await stop(server);
    await place.remove();
  });

  const answersIn = async (name: string): Promise<string[]> =>
    lines(await readFile(join(place.dir, name), 'utf8')).map(({ custom_id }) => custom_id);

  test.each([
    ['batch.sh', 'sh'],
    ['batch.mjs', 'node'],
    ['batch.py', 'python3'],
  ])('%s uploads, creates, watches, downloads, cancels and lists', async (script, launcher) => {
    const { code, stdout, stderr } = await start([script], { cwd: place.dir, launcher, env }).ended;

    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^uploaded file-\w+\ncreated batch_[\w-]+\n/);
    expect(stdout).toMatch(/^completed/m);
    expect(await answersIn('batch_output.jsonl')).toEqual(ALL);
    // The cancel succeeded, or it came too late.
    expect(stdout).toMatch(/cancelling|Cannot cancel a batch with status/);
  });

  test('the curl script lists all batches, and those that completed in the last hour', async () => {
    await start(['batch.sh'], { cwd: place.dir, launcher: 'sh', env }).ended;

    const listed = JSON.parse(await readFile(join(place.dir, 'batches.json'), 'utf8')) as { data: unknown[] };
    const completed = JSON.parse(await readFile(join(place.dir, 'completed.json'), 'utf8')) as {
      data: { status: string }[];
    };
    expect(listed.data.length).toBeGreaterThanOrEqual(2);
    expect(new Set(completed.data.map(({ status }) => status))).toEqual(new Set(['completed']));
  });

  test('the cells of the notebook run from the first to the last', async () => {
    const { cells } = JSON.parse(await example('batch.ipynb')) as Notebook;
    const program = cells
      .filter(({ cell_type: type }) => type === 'code')
      .map(({ source }) => source.join(''));
    await writeFile(join(place.dir, 'notebook.py'), program.join('\n\n'));

    const { code, stdout, stderr } = await start(['notebook.py'], {
      cwd: place.dir,
      launcher: 'python3',
      env,
    }).ended;

    expect([code, stderr]).toEqual([0, '']);
    for (const id of ALL) expect(stdout).toMatch(new RegExp(`^${id} \\[simulated\\]`, 'm'));
    expect(stdout).toMatch(/^batch_[\w-]+ completed$/m);
  });
});

interface Notebook {
  readonly nbformat: number;
  readonly nbformat_minor: number;
  readonly metadata: { readonly kernelspec: { readonly language: string } };
  readonly cells: readonly {
    readonly cell_type: 'code' | 'markdown';
    readonly id: string;
    readonly metadata: object;
    readonly source: readonly string[];
    readonly outputs?: readonly unknown[];
    readonly execution_count?: null;
  }[];
}

test('the notebook has the form of nbformat 4.5, no outputs, and headings in Korean and English', async () => {
  const {
    cells,
    nbformat,
    nbformat_minor: minor,
    metadata,
  } = JSON.parse(await example('batch.ipynb')) as Notebook;

  expect([nbformat, minor, metadata.kernelspec.language]).toEqual([4, 5, 'python']);
  expect(new Set(cells.map(({ id }) => id)).size).toBe(cells.length);
  const code = cells.filter(({ cell_type: type }) => type === 'code');
  const texts = cells.filter(({ cell_type: type }) => type === 'markdown');
  expect(code.length + texts.length).toBe(cells.length);
  for (const { outputs, execution_count: count } of code) expect([outputs, count]).toEqual([[], null]);
  for (const cell of texts) {
    expect(Object.keys(cell).sort()).toEqual(['cell_type', 'id', 'metadata', 'source']);
    expect(cell.source[0]).toMatch(/^#+ .*\p{Script=Hangul}.* · \w/u);
  }
});

test('Python compiles every Python example, whether or not it has the SDK', async () => {
  const { cells } = JSON.parse(await example('batch.ipynb')) as Notebook;
  const cellTexts = cells
    .filter(({ cell_type: type }) => type === 'code')
    .map(({ source }) => source.join(''));

  for (const input of [await example('batch.py'), ...cellTexts])
    expect(
      spawnSync('python3', ['-c', 'import ast, sys; ast.parse(sys.stdin.read())'], { input }).status,
    ).toBe(0);
});

describe('the configurations for each kind of reader', () => {
  let models: Running;
  let modelUrl: string;
  beforeEach(async () => {
    place = await scratch();
    models = start(['simulator', '--port', '0'], { cwd: place.dir });
    modelUrl = /http:\S+/.exec(await models.until(/answers at http:\S+/))?.[0] ?? '';
  });
  afterEach(async () => {
    await stop(models);
    await place.remove();
  });

  /** Serves an example with the model server of this test in the place of those that the example names. */
  async function serveExample(name: string, env: Readonly<Record<string, string>>): Promise<Server> {
    const text = (await example(name)).replace(/^( +(?:- )?url: ).*$/gm, `$1${modelUrl}`);
    await writeFile(join(place.dir, name), text);
    return serve(['--config', name, '--data-dir', 'data'], { cwd: place.dir, env });
  }
  const submit = async (server: Server, to: { key: string; deployment: string; resource: string }) => {
    const input = join(place.dir, 'in.jsonl');
    const requests = await readFile(EXAMPLE, 'utf8');
    await writeFile(input, requests.replaceAll('gpt-4o-batch-deployment', to.deployment));
    const flags = ['--endpoint', server.url, '--api-key', to.key, '--resource', to.resource];
    return offpeak(['batches', 'create', '--file', input, '--watch', ...flags], { cwd: place.dir });
  };

  test('gpu-team.yaml serves both teams, each with a key of its own', async () => {
    const server = await serveExample('gpu-team.yaml', {
      SEARCH_KEY: 'search-key',
      ADS_KEY: 'ads-key',
      ADMIN_KEY: 'admin-key',
    });

    const search = await submit(server, { key: 'search-key', deployment: 'bulk-eu', resource: 'search' });
    const ads = await submit(server, { key: 'ads-key', deployment: 'bulk', resource: 'ads' });
    const foreign = await submit(server, { key: 'search-key', deployment: 'bulk', resource: 'ads' });
    await stop(server);

    expect([search.code, ads.code]).toEqual([0, 0]);
    expect(foreign.code).not.toBe(0);
  });

  test('rate-limited.yaml serves both of its deployments', async () => {
    const server = await serveExample('rate-limited.yaml', {
      AZURE_OPENAI_API_KEY: 'azure',
      OPENAI_API_KEY: 'openai',
    });

    const codes: (number | null)[] = [];
    for (const deployment of ['gpt-4o-batch-deployment', 'gpt-4o-mini-batch'])
      codes.push((await submit(server, { key: server.key, deployment, resource: 'default' })).code);
    await stop(server);

    expect(codes).toEqual([0, 0]);
  });
});
