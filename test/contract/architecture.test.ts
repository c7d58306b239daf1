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
/** Areas that see others through their port alone. */
const THROUGH_PORTS = ['batch', 'http', 'deployments', 'identity'];
const STAGES = ['upload', 'validate', 'admission', 'dispatch', 'results', 'finalize'];

interface Import {
  readonly from: string;
  readonly to: string;
}

async function imports(): Promise<Import[]> {
  const files = (await readdir(SRC, { recursive: true })).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.test.ts'),
  );
  const found: Import[] = [];
  for (const from of files) {
    const text = await readFile(join(SRC, from), 'utf8');
    for (const [, path = ''] of text.matchAll(/(?:from|import)\s*\(?'(\.[^']+)'/g)) {
      found.push({ from, to: relative(SRC, resolve(SRC, dirname(from), path)) });
    }
  }
  return found;
}

const areaOf = (file: string): string | undefined => {
  const [first = '', second = ''] = file.split('/');
  return [first, `${first}/${second}`].find((area) => area in ALLOWED);
};

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

  expect(wrong).toEqual([]);
});

test('batch, http, deployments and identity see others through their ports alone', async () => {
  const wrong = (await imports()).filter(({ from, to }) => {
    const own = areaOf(from) ?? '';
    const other = areaOf(to) ?? '';
    const isPorted = other.startsWith('stores/') || ['upstream', 'deployments', 'identity'].includes(other);
    const isPort = /\/ports?\.ts$/.test(to);
    return THROUGH_PORTS.includes(own) && own !== other && isPorted && !isPort;
  });

  expect(wrong).toEqual([]);
});

test('stages of a batch never import each other, save for ports and what results offers', async () => {
  const wrong = (await imports()).filter(({ from, to }) => {
    const [own, other] = [from, to].map((file) => /^batch\/([a-z]+)\//.exec(file)?.[1]);
    if (!STAGES.includes(own ?? '') || !STAGES.includes(other ?? '') || own === other) return false;
    return other !== 'results' && !to.endsWith('/port.ts');
  });

  expect(wrong).toEqual([]);
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

  expect(circles).toEqual([]);
});

test('folders of the command line import those below them, and no command imports another', async () => {
  const floors = ['terminal', 'process', 'local-files', 'client', 'commands', 'program'];
  const wrong = (await imports()).filter(({ from, to }) => {
    const [own, other] = [from, to].map((file) => /^cli\/([a-z-]+)\//.exec(file)?.[1]);
    if (own === undefined || other === undefined) return false;
    const [command, another] = [from, to].map((file) => /^cli\/commands\/([a-z-]+)/.exec(file)?.[1]);
    return own === other ? command !== another : floors.indexOf(other) > floors.indexOf(own);
  });

  expect(wrong).toEqual([]);
});
