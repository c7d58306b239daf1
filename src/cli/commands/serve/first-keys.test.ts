import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { OwnDirectory } from '../../../../test/support/own-directory.ts';
import { dropFirstKeys, firstKeysFile, writeFirstKeys } from './first-keys.ts';

const place = new OwnDirectory();

test('a key that is made later is added to the file', async () => {
  await writeFirstKeys(place.dir, { apiKey: null, adminKey: 'admin' });

  const path = await writeFirstKeys(place.dir, { apiKey: 'api', adminKey: null });

  expect(await readFile(path, 'utf8')).toBe('OFFPEAK_ADMIN_KEY=admin\nOFFPEAK_API_KEY=api\n');
  expect(await readdir(place.dir)).toEqual(['first-keys.env']);
});

test('only the owner can read the file, also if an earlier one was readable by others', async () => {
  await writeFile(place.path('first-keys.env.part'), 'left', { mode: 0o666 });

  const path = await writeFirstKeys(place.dir, { apiKey: 'api', adminKey: 'admin' });

  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readFile(path, 'utf8')).toBe('OFFPEAK_API_KEY=api\nOFFPEAK_ADMIN_KEY=admin\n');
});

test('a key that was shown is removed from the file, and the file with the last key', async () => {
  const path = await writeFirstKeys(place.dir, { apiKey: 'api', adminKey: 'admin' });

  await dropFirstKeys(place.dir, { apiKey: 'api', adminKey: null });
  const left = await readFile(path, 'utf8');
  const named = await firstKeysFile(place.dir);
  await dropFirstKeys(place.dir, { apiKey: null, adminKey: 'admin' });

  expect([left, named]).toEqual(['OFFPEAK_ADMIN_KEY=admin\n', path]);
  expect([await readdir(place.dir), await firstKeysFile(place.dir)]).toEqual([[], null]);
});
