import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));

/** Which areas each may import, as ARCHITECTURE.md draws it. `stores/*` and `batch` may be named by their ports only. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  contract: [],
  core: [],
  config: ['contract', 'core'],
  'stores/state': ['contract', 'core'],
  'stores/blobs': ['core'],
  'stores/queue': ['core'],
  upstream: ['contract', 'core'],
  serving: ['contract', 'core', 'upstream'],
  tls: ['core'],
  identity: ['contract', 'core', 'stores/state'],
  deployments: ['contract', 'core', 'config', 'stores/state', 'upstream'],
  batch: [
    'contract',
    'core',
    'stores/state',
    'stores/blobs',
    'stores/queue',
    'upstream',
    'serving',
    'deployments',
  ],
  http: ['contract', 'core', 'stores/state', 'stores/blobs', 'upstream', 'deployments', 'identity', 'batch'],
};
/** These compose the others, and may import all of them. */
const COMPOSERS = ['main', 'app', 'cli'];
/** Which areas may import which package. What is not here is of no use to the sources. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  '@fastify/multipart': ['http'],
  '@fastify/swagger': ['http'],
  '@peculiar/x509': ['tls'],
  commander: ['cli'],
  fastify: ['http', 'app'],
  'fastify-type-provider-zod': ['http'],
  'gpt-tokenizer': ['batch'],
  jose: ['identity'],
  kysely: ['stores/state'],
  // The lock of the data directory is a lock of SQLite.
  'node:sqlite': ['stores/state', 'core'],
  pg: ['stores/state'],
  // `batch` fetches files to import, `cli` asks an upstream whether it is there.
  undici: ['upstream', 'batch', 'cli'],
  yaml: ['config', 'upstream'],
  zod: ['contract', 'config', 'upstream', 'http', 'cli'],
};
/** Areas that see others through their port alone. */
const THROUGH_PORTS = ['batch', 'http', 'deployments', 'identity'];
const STAGES = ['upload', 'validate', 'admission', 'dispatch', 'results', 'finalize'];

interface Import {
  readonly from: string;
  readonly to: string;
}

const FILES = (await readdir(SRC, { recursive: true })).filter(
  (file) => file.endsWith('.ts') && !file.endsWith('.test.ts'),
);

async function named(pattern: RegExp): Promise<Import[]> {
  const found: Import[] = [];
  for (const from of FILES) {
    const text = await readFile(join(SRC, from), 'utf8');
    for (const [, to = ''] of text.matchAll(pattern)) found.push({ from, to });
  }
  return found;
}

const imports = async (): Promise<Import[]> =>
  (await named(/(?:from|import)\s*\(?'(\.[^']+)'/g)).map(({ from, to }) => ({
    from,
    to: relative(SRC, resolve(SRC, dirname(from), to)),
  }));

const folderOf = (file: string): string => {
  const [first = '', second = ''] = file.replace(/\.ts$/, '').split('/');
  return first === 'stores' ? `${first}/${second}` : first;
};
const areaOf = (file: string): string | undefined => (folderOf(file) in ALLOWED ? folderOf(file) : undefined);
const arrows = (wrong: readonly Import[]): string[] => wrong.map(({ from, to }) => `${from} → ${to}`);

test('the imports of the sources are found', async () => {
  const found = await imports();

  expect(found.length).toBeGreaterThan(400);
  expect(found).toContainEqual({ from: 'batch/engine.ts', to: 'stores/state/ports.ts' });
});

test('areas import only what lies below them', async () => {
  const wrong = (await imports()).filter(({ from, to }) => {
    const [own, other] = [areaOf(from), areaOf(to)];
    return own !== undefined && own !== other && (other === undefined || !ALLOWED[own]?.includes(other));
  });

  expect(
    wrong.map(({ from, to }) => {
      const may = ALLOWED[areaOf(from) ?? '']?.join(', ');
      return `${from} → ${to}; ${areaOf(from)} may import: ${may === '' ? 'nothing of ours' : may}`;
    }),
    'Move the shared part down, or hand it in from the composition root',
  ).toEqual([]);
});

test('every folder of the sources is an area of this table, or composes them', () => {
  const areas = [...Object.keys(ALLOWED), ...COMPOSERS];

  expect(
    [...new Set(FILES.map(folderOf))].filter((folder) => !areas.includes(folder)),
    'Say in ALLOWED what the folder may import, and describe it in the map of ARCHITECTURE.md',
  ).toEqual([]);
});

test('a file or folder has a name that says its purpose', () => {
  expect(
    FILES.filter((file) => /(?:^|\/)(?:utils?|common|managers?|services?)(?:\/|\.ts$)/.test(file)),
    'Name it after what it does (STYLE 2)',
  ).toEqual([]);
});

test('each package is imported by the areas that need it alone', async () => {
  const used = (
    await named(/(?:from|import)\s*\(?'((?:@[a-z][\w.-]*\/|node:)?[a-z][\w.-]*)(?:\/[\w./-]+)?'/g)
  ).filter(({ to }) => to in PACKAGES || !to.startsWith('node:'));

  expect(
    arrows(used.filter(({ from, to }) => !PACKAGES[to]?.includes(folderOf(from)))),
    'Call it through the port of the area that has it, or say in PACKAGES why this area needs it, too',
  ).toEqual([]);
  expect(
    Object.entries(PACKAGES).flatMap(([to, areas]) =>
      areas
        .filter((area) => !used.some((one) => one.to === to && folderOf(one.from) === area))
        .map((area) => `${area} → ${to}`),
    ),
    'Take what is not used any more out of PACKAGES',
  ).toEqual([]);
});

test('batch, http, deployments and identity see others through their ports alone', async () => {
  const wrong = (await imports()).filter(({ from, to }) => {
    const own = areaOf(from) ?? '';
    const other = areaOf(to) ?? '';
    const isPorted = other.startsWith('stores/') || ['upstream', 'deployments', 'identity'].includes(other);
    const isPort = /\/ports?\.ts$/.test(to);
    return THROUGH_PORTS.includes(own) && own !== other && isPorted && !isPort;
  });

  expect(arrows(wrong), 'Import the port.ts of that area, and add there what is missing').toEqual([]);
});

test('stages of a batch never import each other, save for ports and what results offers', async () => {
  const wrong = (await imports()).filter(({ from, to }) => {
    const [own, other] = [from, to].map((file) => /^batch\/([a-z]+)\//.exec(file)?.[1]);
    if (!STAGES.includes(own ?? '') || !STAGES.includes(other ?? '') || own === other) return false;
    return other !== 'results' && !to.endsWith('/port.ts');
  });

  expect(
    arrows(wrong),
    'Let src/batch/engine.ts hand over what the stage needs, through its port.ts',
  ).toEqual([]);
});

test('no file imports itself through others, types included', async () => {
  const importsOf = Map.groupBy(await imports(), ({ from }) => from);
  const circles: string[][] = [];
  const seen = new Set<string>();
  const follow = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file]);
    if (seen.has(file)) return;
    seen.add(file);
    for (const { to } of importsOf.get(file) ?? []) follow(to, [...path, file]);
  };
  for (const file of importsOf.keys()) follow(file, []);

  expect(circles, 'Move what both need, often a type, into a file of its own').toEqual([]);
});

test('folders of the command line import those below them, and no command imports another', async () => {
  const floors = ['terminal', 'process', 'local-files', 'client', 'commands', 'program'];
  const wrong = (await imports()).filter(({ from, to }) => {
    const [own, other] = [from, to].map((file) => /^cli\/([a-z-]+)\//.exec(file)?.[1]);
    if (own === undefined || other === undefined) return false;
    const [command, another] = [from, to].map((file) => /^cli\/commands\/([a-z-]+)/.exec(file)?.[1]);
    return own === other ? command !== another : floors.indexOf(other) > floors.indexOf(own);
  });

  expect(
    arrows(wrong),
    `A folder imports those before it: ${floors.join(', ')}. Move what is shared down`,
  ).toEqual([]);
});
