import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EXAMPLE, lines, offpeak, scratch, serve, start } from './offpeak.ts';

let place: Awaited<ReturnType<typeof scratch>>;
beforeEach(async () => {
  place = await scratch();
});
afterEach(() => place.remove());

const read = (name: string) => readFile(join(place.dir, name), 'utf8');
const write = (name: string, text: string) => writeFile(join(place.dir, name), text);

test('a run meets what the script says of each line, by its custom_id', async () => {
  await write('bad.yaml', '- { when: { customId: task-1 }, do: { status: 400, message: flagged } }\n');

  const { code } = await offpeak(
    ['run', EXAMPLE, '-o', 'out.jsonl', '--upstream', 'simulator', '--simulator-behaviour', 'bad.yaml'],
    { cwd: place.dir },
  );

  expect(code).toBe(1);
  expect(lines(await read('out.jsonl')).map(({ custom_id }) => custom_id)).toEqual(['task-0', 'task-2']);
  expect(await read('out.errors.jsonl')).toMatch(/"custom_id":"task-1".*"status_code":400.*flagged/);
});

test('the simulator as a server does what the script says', async () => {
  await write(
    'bad.json',
    JSON.stringify([{ when: { text: 'venom' }, do: { status: 503, headers: { 'retry-after': 7 } } }]),
  );
  const simulator = start(['simulator', '--port', '0', '--json', '--simulator-behaviour', 'bad.json'], {
    cwd: place.dir,
  });
  const { url } = JSON.parse(await simulator.until(/\}\n/)) as { url: string };
  const ask = (content: string) =>
    fetch(`${url}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content }] }),
    });

  const replies = [await ask('milk'), await ask('venom')];
  simulator.child.kill('SIGTERM');

  expect(replies.map(({ status }) => status)).toEqual([200, 503]);
  expect(replies[1]?.headers.get('retry-after')).toBe('7');
  expect((await simulator.ended).code).toBe(0);
});

test('a script that is faulty ends each command with its faults', async () => {
  await write('bad.yaml', '- { when: { line: soon }, do: 99 }\n');

  const ends = await Promise.all(
    [
      ['simulator', '--port', '0'],
      ['serve', '--port', '0'],
      ['run', EXAMPLE, '-o', 'out.jsonl', '--upstream', 'simulator'],
    ].map((command) => offpeak([...command, '--simulator-behaviour', 'bad.yaml'], { cwd: place.dir })),
  );

  expect(await readdir(place.dir)).toEqual(['bad.yaml']);
  for (const { code, stderr } of ends) {
    expect(code).toBe(2);
    expect(stderr).toMatch(/bad\.yaml: rule 1: when\.line: [^]*rule 1: do\.status: /);
  }
});

test('the service follows another script after SIGHUP', async () => {
  await write('bad.yaml', '- { when: { text: x }, do: 400 }\n');
  const server = await serve(['--upstream', 'simulator', '--simulator-behaviour', 'bad.yaml'], {
    cwd: place.dir,
  });

  await write('bad.yaml', '- { when: { line: x }, do: 400 }\n');
  server.child.kill('SIGHUP');
  await server.until(/rule 1: when\.line/);
  server.child.kill('SIGTERM');

  expect((await server.ended).code).toBe(0);
});
