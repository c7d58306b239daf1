import { readdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { EXAMPLE, Place, words } from './offpeak.ts';

const place = new Place();

test('a run gets what the script says for a custom_id', async () => {
  await place.write('bad.yaml', '- { when: { customId: task-1 }, do: { status: 400, message: flagged } }\n');

  const { code } = await place.offpeak(
    words`run ${EXAMPLE} -o out.jsonl --upstream simulator --simulator-behaviour bad.yaml`,
  );

  expect(code).toBe(1);
  expect(await place.ids('out.jsonl')).toEqual(['task-0', 'task-2']);
  expect(await place.read('out.errors.jsonl')).toMatch(/"custom_id":"task-1".*"status_code":400.*flagged/);
});

test('the simulator as a server does what the script says', async () => {
  await place.write(
    'bad.json',
    JSON.stringify([{ when: { text: 'venom' }, do: { status: 503, headers: { 'retry-after': 7 } } }]),
  );
  const { running, url } = await place.simulator('--simulator-behaviour', 'bad.json');
  const ask = (content: string) =>
    fetch(`${url}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content }] }),
    });

  const replies = [await ask('milk'), await ask('venom')];
  running.child.kill('SIGTERM');

  expect(replies.map(({ status }) => status)).toEqual([200, 503]);
  expect(replies[1]?.headers.get('retry-after')).toBe('7');
  expect((await running.ended).code).toBe(0);
});

test('a faulty script ends each command with its faults', async () => {
  await place.write('bad.yaml', '- { when: { line: soon }, do: 99 }\n');

  const ends = await Promise.all(
    [
      ['simulator', '--port', '0'],
      ['serve', '--port', '0'],
      ['run', EXAMPLE, '-o', 'out.jsonl', '--upstream', 'simulator'],
    ].map((command) => place.offpeak([...command, '--simulator-behaviour', 'bad.yaml'])),
  );

  expect(await readdir(place.dir)).toEqual(['bad.yaml']);
  for (const { code, stderr } of ends) {
    expect(code).toBe(2);
    expect(stderr).toMatch(/bad\.yaml: rule 1: when\.line: [^]*rule 1: do\.status: /);
  }
});

test('the service follows another script after SIGHUP', async () => {
  await place.write('bad.yaml', '- { when: { text: x }, do: 400 }\n');
  const server = await place.serve(['--upstream', 'simulator', '--simulator-behaviour', 'bad.yaml']);

  await place.write('bad.yaml', '- { when: { line: x }, do: 400 }\n');
  server.child.kill('SIGHUP');
  await server.until(/rule 1: when\.line/);

  expect((await server.stop()).code).toBe(0);
});
