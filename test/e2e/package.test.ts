import { execFile } from 'node:child_process';
import { access, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { lines, offpeak, scratch, serve, words } from './offpeak.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const npm = (args: readonly string[], cwd: string) =>
  promisify(execFile)('npm', [...args, '--no-audit', '--no-fund', '--loglevel=error'], { cwd });

let place: Awaited<ReturnType<typeof scratch>>;
let launcher: string;
beforeAll(async () => {
  place = await scratch();
  await npm(['pack', '--pack-destination', place.dir], root);
  const tarball = (await readdir(place.dir)).find((name) => name.endsWith('.tgz')) ?? '';
  const app = join(place.dir, 'app');
  await npm(
    words`install --prefix ${app} --omit=dev --ignore-scripts --prefer-offline ${join(place.dir, tarball)}`,
    place.dir,
  );
  launcher = join(app, 'node_modules', '.bin', 'offpeak');
}, 300_000);
afterAll(() => place.remove());

test('the packed program has what it needs and no sources or development dependencies', async () => {
  const installed = join(place.dir, 'app', 'node_modules');
  const names = await readdir(join(installed, 'offpeak'));

  const pages = words`ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md LICENSE README.md SECURITY.md STYLE.md`;
  expect(names.sort()).toEqual([...pages, 'bin', 'dist', 'docs', 'examples', 'package.json']);
  await expect(access(join(installed, 'vitest'))).rejects.toThrow('ENOENT');
});

test('the packed program serves, answers its clients, and stops', async () => {
  const server = await serve([], { cwd: place.dir, launcher });
  const example = join(place.dir, 'app', 'node_modules', 'offpeak', 'examples', 'test.jsonl');

  const docs = await fetch(`${server.url}/docs`);
  const watched = await server.cli('batches', 'create', '--file', example, '--watch', '--json');

  expect(docs.status).toBe(200);
  expect(watched.code).toBe(0);
  expect(lines(watched.stdout).at(-1)).toMatchObject({
    status: 'completed',
    request_counts: { completed: 3 },
  });
  expect((await server.stop()).code).toBe(0);
});

test('the packed program validates exactly, and says which version it is', async () => {
  const example = join(place.dir, 'app', 'node_modules', 'offpeak', 'examples', 'test.jsonl');

  const validated = await offpeak(['validate', '--exact', '--json', example], { cwd: place.dir, launcher });
  const version = await offpeak(['--version'], { cwd: place.dir, launcher });

  expect(JSON.parse(validated.stdout)).toMatchObject({ valid: true, requests: 3 });
  expect(version).toMatchObject({ code: 0, stdout: '0.1.0\n' });
});

test('the packed program refuses a Node that is too old, and says which one it needs and how to get it', async () => {
  const old = join(place.dir, 'old');
  await mkdir(old);
  await writeFile(join(old, 'node'), '#!/bin/sh\n[ "$1" = -p ] && echo 20 || echo v20.20.2\n', {
    mode: 0o755,
  });

  const { code, stderr } = await offpeak(['--version'], {
    cwd: place.dir,
    env: { PATH: `${old}:/usr/bin:/bin` },
    launcher,
  });

  expect(code).toBe(2);
  expect(stderr).toContain('offpeak needs Node 24 or newer; this is v20.20.2.\nInstall it from');
});
