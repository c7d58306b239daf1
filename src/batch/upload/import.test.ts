import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../core/clock.ts';
import { openDiskBlobs, type DiskBlobs } from '../../stores/blobs/disk.ts';
import type { StateStore } from '../../stores/state/ports.ts';
import { change, resourceOf } from '../../../test/support/state-store.ts';
import { uploaderOver } from '../../../test/support/uploader.ts';
import { openSqliteInline } from '../../stores/state/sqlite/inline.ts';
import { startProxy } from '../../../test/support/proxy-server.ts';
import { createImporter, type Importer, type ImporterOptions } from './import.ts';
import type { Uploader } from './upload.ts';

const scope = { resourceId: 'default', actor: 'test' };

let dir: string;
let state: StateStore;
let blobs: DiskBlobs;
let uploader: Uploader;
let server: Server;
let connections: number;
let answer: RequestListener;
let host: string;
const importers: Importer[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'offpeak-import-'));
  state = await openSqliteInline({ path: join(dir, 'state.db') });
  await state.resources.put(resourceOf('default'), change);
  blobs = await openDiskBlobs({ dir: join(dir, 'blobs') });
  uploader = uploaderOver({ state, blobs, fileBytesMax: 1_000_000 });
  connections = 0;
  server = createServer((request, response) => answer(request, response));
  server.on('connection', () => connections++);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  host = `127.0.0.1:${address !== null && typeof address === 'object' ? address.port : 0}`;
});
afterEach(async () => {
  for (const importer of importers.splice(0)) await importer.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await blobs.close();
  await state.close();
  await rm(dir, { recursive: true });
});

const importFrom = (contentUrl: string, options: Partial<ImporterOptions> = {}) => {
  const importer = createImporter({ uploader, clock: systemClock, importHosts: [host], ...options });
  importers.push(importer);
  return importer.importFile(scope, {
    contentUrl,
    filename: 'in.jsonl',
    purpose: 'batch',
    expiresAfterS: null,
  });
};

async function expectNothing(): Promise<void> {
  expect(await state.files.list(scope, { limit: 10, order: 'asc' })).toEqual({ files: [], hasMore: false });
  const entries = await readdir(join(dir, 'blobs'), { recursive: true, withFileTypes: true });
  expect(entries.filter((entry) => entry.isFile())).toEqual([]);
}

test('the bytes of a listed host become a file', async () => {
  const bytes = randomBytes(900_000);
  answer = (_request, response) => response.end(bytes);

  const file = await importFrom(`http://${host}/container/in.jsonl?sig=secret`);

  expect(file).toMatchObject({ bytes: 900_000, filename: 'in.jsonl', purpose: 'batch' });
  expect((await buffer(blobs.read(file.id))).equals(bytes)).toBe(true);
});

test('a file is read through the proxy that stands before its host, and its signature is shown to nobody else', async () => {
  answer = (_request, response) => response.end('{"a":1}\n');
  const proxy = await startProxy({ target: `http://${host}`, credentials: 'user:s3cret' });
  const through = new URL(`http://user:s3cret@127.0.0.1:${proxy.port}`);

  const file = await importFrom(`http://${host}/in.jsonl?sig=secret`, { proxyFor: () => through });

  expect(file.bytes).toBe(8);
  expect(proxy.asked).toHaveLength(1);
  await importers.pop()?.close();
  await proxy.close();
});

describe('refused before anything is sent', () => {
  test.each([
    ['any host, when none is listed', 'https://example.test/in.jsonl', [] as string[], 'imports no files'],
    ['a host that is not listed', 'https://example.test/in.jsonl', undefined, 'https://example.test'],
    ['another port', 'https://example.test:8443/in.jsonl', ['example.test'], 'example.test:8443'],
    [
      'plain http',
      'http://example.test/in.jsonl',
      ['example.test', 'example.test:80'],
      'http://example.test',
    ],
    ['another scheme', 'file:///etc/passwd', ['example.test'], 'file:'],
    ['a user name', 'https://user:pass@example.test/in.jsonl', ['example.test'], 'without user name'],
    ['a prefix of a listed host', 'https://example.test.evil.test/', ['example.test'], 'evil.test'],
    ['a suffix that is no label', 'https://evilexample.test/', ['*.example.test'], 'evilexample.test'],
    ['the bare suffix', 'https://example.test/', ['*.example.test'], 'https://example.test'],
    ['what is no URL', 'in.jsonl', ['example.test'], 'absolute URL'],
    ['an address in disguise', 'http://0x7f000001/', ['example.test'], 'http://127.0.0.1'],
  ])('%s', async (_what, url, importHosts, told) => {
    const refused = importFrom(url, importHosts ? { importHosts } : {});

    await expect(refused).rejects.toMatchObject({
      code: 'fileImportFailed',
      message: expect.stringContaining(told),
      param: 'content_url',
    });
    expect(connections).toBe(0);
    await expectNothing();
  });
});

describe('a listed name that leads elsewhere is not dialled', () => {
  const resolvingTo =
    (...addresses: string[]): ImporterOptions['lookup'] =>
    (_host, _options, done) =>
      done(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );

  test.each([
    ['127.0.0.1', 'files.example.test'],
    ['169.254.169.254', 'files.example.test'],
    ['::ffff:169.254.169.254', 'files.example.test'],
    ['168.63.129.16', 'files.example.test'],
    ['::1', 'files.example.test'],
    ['0.0.0.0', 'files.example.test'],
    ['fd00:ec2::254', 'files.example.test'],
    ['64:ff9b::a9fe:a9fe', 'files.example.test'],
    ['10.0.0.4', '*.example.test'],
    ['192.168.1.1', '*.example.test'],
    ['fd12::1', '*.example.test'],
  ])('to %s by %s', async (address, entry) => {
    const { port } = new URL(`http://${host}`);
    const importHosts = [entry, `files.example.test:${port}`];
    const url = entry.startsWith('*') ? 'https://files.example.test/' : `https://files.example.test:${port}/`;

    await expect(
      importFrom(url, {
        importHosts: entry.startsWith('*') ? [entry] : importHosts,
        lookup: resolvingTo('93.184.216.34', address),
      }),
    ).rejects.toMatchObject({
      code: 'fileImportFailed',
      message: expect.stringContaining('resolves to an address that files are not imported from'),
    });
    expect(connections).toBe(0);
    await expectNothing();
  });
});

describe('an answer that is no file', () => {
  test.each<[string, RequestListener, string]>([
    [
      'a redirect, even to itself',
      (_request, response) => response.writeHead(302, { location: '/again' }).end(),
      'redirect (302)',
    ],
    ['a refusal', (_request, response) => response.writeHead(403).end('<Error>no</Error>'), 'status 403'],
    ['no content', (_request, response) => response.writeHead(204).end(), 'status 204'],
    ['a part', (_request, response) => response.writeHead(206).end('half'), 'status 206'],
    [
      'a compressed one',
      (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('{}')),
      'compressed',
    ],
    [
      'one that is cut short',
      (_request, response) => {
        response.writeHead(200, { 'content-length': 1_000 }).write('only this');
        setImmediate(() => response.destroy());
      },
      'could not be read',
    ],
    [
      'a chunked one without its end',
      (_request, response) => {
        response.writeHead(200).write('only this');
        setImmediate(() => response.destroy());
      },
      'could not be read',
    ],
    ['silence', (request) => request.socket.destroy(), 'could not be read'],
  ])('%s fails with a clear text, leaves nothing, and shows no secret', async (_what, listener, told) => {
    let requests = 0;
    answer = (request, response) => {
      requests++;
      listener(request, response);
    };

    const failed = await importFrom(`http://${host}/in.jsonl?sig=s3cret`).catch((error: unknown) => error);

    expect(failed).toMatchObject({
      code: 'fileImportFailed',
      message: expect.stringContaining(told),
      param: 'content_url',
    });
    expect(String(failed)).toContain(host);
    expect(String(failed)).not.toContain('s3cret');
    expect(requests).toBe(1);
    await expectNothing();
  });

  test('but one byte too many is too large, and the download ends there', async () => {
    const closed = new Promise<void>((resolve) => {
      answer = (_request, response) => {
        response.on('close', resolve);
        const more = () => {
          while (response.write(Buffer.alloc(100_000)));
          response.once('drain', more);
        };
        more();
      };
    });

    await expect(importFrom(`http://${host}/`)).rejects.toMatchObject({ code: 'fileTooLarge' });

    await closed;
    await expectNothing();
    answer = (_request, response) => response.end(Buffer.alloc(1_000_000));
    expect((await importFrom(`http://${host}/`)).bytes).toBe(1_000_000);
  });

  test('that never ends is given up at the deadline', async () => {
    answer = (_request, response) => response.writeHead(200).write('and then nothing');

    await expect(importFrom(`http://${host}/`, { totalMs: 150 })).rejects.toMatchObject({
      code: 'fileImportFailed',
      message: expect.stringContaining('took longer than'),
    });

    await expectNothing();
  });
});

test('a wrong name is refused without a download', async () => {
  const importer = createImporter({ uploader, clock: systemClock, importHosts: [host] });
  importers.push(importer);

  await expect(
    importer.importFile(scope, {
      contentUrl: `http://${host}/`,
      filename: 'in.csv',
      purpose: 'batch',
      expiresAfterS: null,
    }),
  ).rejects.toMatchObject({ code: 'invalidValue', param: 'file' });
  expect(connections).toBe(0);
});
