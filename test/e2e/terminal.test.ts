import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { displayWidth } from '../../src/cli/width.ts';
import { OFFPEAK, requests, scratch, start } from './offpeak.ts';

let place: Awaited<ReturnType<typeof scratch>>;
let upstream: Server;
let url: string;
beforeEach(async () => {
  place = await scratch();
  upstream = createServer((request, response) => {
    request.resume();
    if (request.url?.endsWith('/models')) response.end('{"object":"list","data":[]}');
    else
      response
        .writeHead(401)
        .end('{"error":{"message":"열쇠가 맞지 않습니다. Ask the people who run this server."}}');
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1`;
});
afterEach(async () => {
  upstream.close();
  upstream.closeAllConnections();
  await place.remove();
});

/** Runs the rest of its arguments on a terminal of so many columns. */
const TERMINAL = `
import fcntl, os, pty, struct, sys, termios
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, int(sys.argv[1]), 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    os.write(1, data)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

test.each([40, 80, 200])('on a terminal of %d columns nothing is wider, and all is told', async (columns) => {
  await writeFile(join(place.dir, 'in.jsonl'), requests(300));
  const args = [`${columns}`, OFFPEAK, 'run', 'in.jsonl', '--upstream', url, '--wait-for-upstream', '1s'];

  const { code, stdout } = await start(['-c', TERMINAL, ...args], {
    cwd: place.dir,
    launcher: 'python3',
    env: { TERM: 'xterm' },
  }).ended;

  expect(code).toBe(6);
  const shown = stripVTControlCharacters(stdout).split(/[\r\n]+/);
  for (const line of shown) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
  const text = shown.join(' ').replaceAll(/\s+/g, ' ');
  expect(text).toMatch(/in_progress ░+ 0%/);
  expect(text).toContain('waiting: ');
  expect(text).toContain('No request was lost: the same command goes on from here.');
});
