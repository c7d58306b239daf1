import { expect, test } from 'vitest';
import { EXAMPLE, Place, requests } from './offpeak.ts';

const place = new Place();

test('a good file: counts, tokens, and exit code 0', async () => {
  const estimated = await place.offpeak(['validate', EXAMPLE]);
  const exact = await place.offpeak(['validate', EXAMPLE, '--exact', '--json']);

  expect(estimated).toMatchObject({ code: 0, stderr: '' });
  expect(estimated.stdout).toMatch(/requests {2}3, to \/chat\/completions/);
  expect(estimated.stdout).toMatch(/tokens {4}about \d+ of input/);
  expect(JSON.parse(exact.stdout)).toMatchObject({
    valid: true,
    requests: 3,
    tokens_exact: true,
    errors: [],
  });
  expect(exact.code).toBe(0);
});

test('a bad file: every fault with its line, and exit code 4', async () => {
  const input = `${requests(1)}not json\n${requests(1)}{"custom_id":"x"}\n`;
  await place.write('bad.jsonl', input);

  const forPeople = await place.offpeak(['validate', 'bad.jsonl']);
  const forScripts = await place.offpeak(['validate', 'bad.jsonl', '--json']);

  expect(forPeople.code).toBe(4);
  const report = forPeople.stdout.trimEnd().split('\n');
  expect(report).toHaveLength(4);
  expect(report[0]).toMatch(/^bad\.jsonl:2: invalid_json_line: /);
  expect(report[1]).toMatch(/^bad\.jsonl:3: duplicate_custom_id: .*line 1/);
  expect(report[2]).toMatch(/^bad\.jsonl:4: invalid_request: /);
  expect(report[3]).toBe('3 faults in 4 requests; nothing was sent.');
  expect(forScripts.code).toBe(4);
  expect(JSON.parse(forScripts.stdout)).toMatchObject({
    valid: false,
    errors: [{ line: 2 }, { line: 3, code: 'duplicate_custom_id' }, { line: 4 }],
  });
});

test('escape sequences in a file do not reach the terminal', async () => {
  const line = requests(1).replace('request-0', String.raw`\u001b]0;owned\u0007`);
  await place.write('bad.jsonl', line + line);

  const { stdout, code } = await place.offpeak(['validate', 'bad.jsonl']);

  expect(code).toBe(4);
  expect(stdout).toContain('owned');
  expect(stdout).not.toMatch(/(?!\n)\p{Cc}/u);
});

test('a file that is not there, and a missing argument, are usage', async () => {
  const absent = await place.offpeak(['validate', 'absent.jsonl']);
  const none = await place.offpeak(['validate']);

  expect(absent).toMatchObject({
    code: 2,
    stderr: 'offpeak: absent.jsonl cannot be read: there is no such file or directory.\n',
  });
  expect(none.code).toBe(2);
});
