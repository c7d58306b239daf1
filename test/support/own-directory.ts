import { once } from 'node:events';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';

/** Gives each test of a file a directory and HTTP servers of its own, and removes them after the test. */
export class OwnDirectory {
  dir = '';
  readonly #endings: (() => unknown)[] = [];

  constructor() {
    beforeEach(async () => {
      this.dir = await newDirectory();
    });
    afterEach(async () => {
      for (const end of this.#endings.splice(0).toReversed()) await end();
      await removeDirectory(this.dir);
    });
  }

  /** Calls `end` after the test, before the directory goes. */
  atEnd(end: () => unknown): void {
    this.#endings.push(end);
  }

  path(...names: string[]): string {
    return join(this.dir, ...names);
  }

  read(...names: string[]): Promise<string> {
    return readFile(this.path(...names), 'utf8');
  }

  write(name: string, text: string): Promise<void> {
    return writeFile(this.path(name), text);
  }

  exists(...names: string[]): Promise<boolean> {
    return access(this.path(...names)).then(
      () => true,
      () => false,
    );
  }

  /** Starts an HTTP server, and returns its origin. */
  async listen(listener: RequestListener): Promise<string> {
    return `http://127.0.0.1:${await this.listenWith(createServer(listener))}`;
  }

  /** Makes a server listen until the end of the test, and returns its port. */
  async listenWith(server: Server): Promise<number> {
    this.atEnd(() => server.close().closeAllConnections());
    return portOf(server);
  }

  /** An origin at which nothing listens. */
  async nobody(): Promise<string> {
    const server = createServer();
    const port = await portOf(server);
    await once(server.close(), 'close');
    return `http://127.0.0.1:${port}`;
  }
}

async function portOf(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

/** The space in its name finds commands that do not quote a path. */
export const newDirectory = (parent = tmpdir()): Promise<string> => mkdtemp(join(parent, 'offpeak test '));

/** A service whose terminal is gone may take a moment to end. */
export const removeDirectory = (dir: string): Promise<void> =>
  rm(dir, { recursive: true, force: true, maxRetries: 20 });
