import { glob, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { configurationPage } from './docs.ts';
import { loadConfig } from './load.ts';
import { envName, OPTION_NAMES, yamlPath } from './options.ts';

test('docs/configuration.md is what the option table says; `npm run fix` writes it', async () => {
  const page = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8');

  expect(page).toBe(configurationPage());
});

test('no two options share a variable or a key of the file', () => {
  const variables = OPTION_NAMES.map(envName);
  const paths = OPTION_NAMES.map((name) => yamlPath(name)?.join('.')).filter((path) => path !== undefined);

  expect(new Set(variables).size).toBe(variables.length);
  expect(new Set(paths).size).toBe(paths.length);
});

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FILES: [page: string, file: string][] = [];
for await (const page of glob('{README.md,docs/*.md,docs/adr/*.md}', { cwd: ROOT })) {
  const text = await readFile(join(ROOT, page), 'utf8');
  // The simulator's rules are YAML, too.
  for (const [, yaml = ''] of text.matchAll(/^```yaml\n(.*?)^```$/gms))
    if (!/^ *- (when|do):/m.test(yaml)) FILES.push([page, yaml]);
}

test.each(FILES)('%s has a configuration that is taken as it stands', async (_page, yaml) => {
  const cwd = await mkdtemp(join(tmpdir(), 'offpeak-docs-'));
  await writeFile(join(cwd, 'offpeak.yaml'), yaml);
  const env = Object.fromEntries(
    [...yaml.matchAll(/\$\{(\w+)\}/g)].map(([, name = '']) => [name, `set-${name}`]),
  );

  const loaded = await loadConfig({ command: 'serve', flags: {}, env, cwd });
  await rm(cwd, { recursive: true });

  expect(loaded.ok ? [] : loaded.faults).toEqual([]);
});
