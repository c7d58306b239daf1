import { expect, test } from 'vitest';
import { Place } from './offpeak.ts';

const place = new Place();

test('the quickstart ends with three answers, their files, and exit code 0', async () => {
  const { code, stdout, stderr } = await place.offpeak(['quickstart']);

  expect(stderr).toContain('completed, 3/3');
  for (const question of ['Microsoft founded?', 'first XBOX released?', 'What is Altair Basic?'])
    expect(stdout).toContain(question);
  expect(await place.ids('.offpeak/quickstart/output.jsonl')).toEqual(['task-0', 'task-1', 'task-2']);
  expect(await place.read('.offpeak', 'quickstart', 'errors.jsonl')).toBe('');
  expect(code).toBe(0);
});

test('the quickstart with --json prints one object with the answers', async () => {
  const { code, stdout } = await place.offpeak(['quickstart', '--json']);

  expect(JSON.parse(stdout)).toMatchObject({
    status: 'completed',
    answers: [{ custom_id: 'task-0' }, { custom_id: 'task-1' }, { custom_id: 'task-2' }],
  });
  expect(code).toBe(0);
});
