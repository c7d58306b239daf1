import { stripVTControlCharacters } from 'node:util';
import { beforeEach, expect, test } from 'vitest';
import { displayWidth } from '../../src/cli/terminal/width.ts';
import { OFFPEAK, Place, requests } from './offpeak.ts';

const place = new Place();
let url: string;
beforeEach(async () => {
  const origin = await place.listen((request, response) => {
    request.resume();
    if (request.url?.endsWith('/models')) response.end('{"object":"list","data":[]}');
    else
      response
        .writeHead(401)
        .end('{"error":{"message":"열쇠가 맞지 않습니다. Ask the people who run this server."}}');
  });
  url = `${origin}/v1`;
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

test.each([40, 80, 200])(
  'on a terminal of %d columns no line is wider, and every fact is shown',
  async (columns) => {
    await place.write('in.jsonl', requests(300));

    const args = ['run', 'in.jsonl', '--upstream', url, '--wait-for-upstream', '1s'];
    const { code, stdout } = await onTerminal(columns, ...args).ended;

    expect(code).toBe(6);
    const shown = shownIn(stdout);
    for (const line of shown) expect(displayWidth(line)).toBeLessThanOrEqual(columns);
    const text = shown.join(' ').replaceAll(/\s+/g, ' ');
    expect(text).toMatch(/in_progress ░+ 0%/);
    expect(text).toContain('waiting: ');
    expect(text).toContain('No request was lost: the same command goes on from here.');
  },
);

const onTerminal = (columns: number, ...command: readonly string[]) =>
  place.start(['-c', TERMINAL, `${columns}`, OFFPEAK, ...command], {
    launcher: 'python3',
    env: { TERM: 'xterm' },
  });
const shownIn = (said: string): string[] => stripVTControlCharacters(said).split(/[\r\n]+/);

test('on a terminal the banner fits its width, except for lines to copy', async () => {
  await place.write(
    'offpeak.yaml',
    `upstreams: [{ name: gpu, url: '${url}' }]
resources: [{ name: search, deployments: [{ name: bulk, model: meta-llama/Llama-3.3-70B-Instruct }] }]
`,
  );

  const running = onTerminal(80, 'serve', '--port', '0', '--ballast', '0', '--log-level', 'silent');
  const shown = shownIn(await running.until(/--watch/));
  running.child.kill('SIGTERM');
  await running.ended;

  const text = shown.join(' ').replaceAll(/\s+/g, ' ');
  expect(text).toContain('search: bulk (meta-llama/Llama-3.3-70B-Instruct) → http');
  expect(text).toContain('batches create --resource search --api-key KEY');
  const wide = shown.filter((line) => displayWidth(line) > 80);
  expect(wide.filter((line) => !line.includes('/offpeak batches create '))).toEqual([]);
});

test('on a terminal the faults of a file fit its width', async () => {
  await place.write('in.jsonl', requests(2) + requests(1));

  const { code, stdout } = await onTerminal(60, 'validate', 'in.jsonl').ended;

  expect(code).toBe(4);
  const shown = shownIn(stdout);
  for (const line of shown) expect(displayWidth(line)).toBeLessThanOrEqual(60);
  expect(shown.join(' ')).toContain('in.jsonl:3: duplicate_custom_id:');
});
