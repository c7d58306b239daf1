import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lines, offpeak, scratch } from './offpeak.ts';

let place: Awaited<ReturnType<typeof scratch>>;
beforeEach(async () => {
  place = await scratch();
});
afterEach(() => place.remove());

test('the quickstart ends with three answers, their files, and exit code 0', async () => {
  const { code, stdout, stderr } = await offpeak(['quickstart'], { cwd: place.dir });

  expect(stderr).toContain('completed, 3/3');
  for (const question of [
    'When was Microsoft founded?',
    'When was the first XBOX released?',
    'What is Altair Basic?',
  ]) {
    expect(stdout).toContain(question);
  }
  const output = await readFile(join(place.dir, '.offpeak', 'quickstart', 'output.jsonl'), 'utf8');
  expect(lines(output).map(({ custom_id }) => custom_id)).toEqual(['task-0', 'task-1', 'task-2']);
  expect(await readFile(join(place.dir, '.offpeak', 'quickstart', 'errors.jsonl'), 'utf8')).toBe('');
  expect(code).toBe(0);
});

test('the quickstart with --json prints one object with the answers', async () => {
  const { code, stdout } = await offpeak(['quickstart', '--json'], { cwd: place.dir });

  expect(JSON.parse(stdout)).toMatchObject({
    status: 'completed',
    answers: [{ custom_id: 'task-0' }, { custom_id: 'task-1' }, { custom_id: 'task-2' }],
  });
  expect(code).toBe(0);
});
