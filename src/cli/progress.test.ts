import { expect, test } from 'vitest';
import { createProgressView, shortTime, type Progress } from './progress.ts';

const at = (change: Partial<Progress>): Progress => ({
  status: 'in_progress',
  total: 1000,
  completed: 0,
  failed: 0,
  requestsPerSecond: null,
  etaS: null,
  waiting: null,
  ...change,
});

/** What a view writes to a stream of that kind. */
function recorder({ isTTY, columns = 120 }: { isTTY: boolean; columns?: number }) {
  const written: string[] = [];
  const stream = { isTTY, columns, write: (text: string) => written.push(text) > 0 };
  const clock = { nowMs: 0 };
  return { written, clock, view: createProgressView(stream, () => clock.nowMs) };
}

test('elsewhere than on a terminal: a plain line at every news, and every five seconds', () => {
  const { written, clock, view } = recorder({ isTTY: false });

  view.show(at({ status: 'validating', total: 0 }));
  view.show(at({ completed: 10 }));
  clock.nowMs = 4_999;
  view.show(at({ completed: 20 }));
  clock.nowMs = 5_000;
  view.show(at({ completed: 1_234, total: 5_000, failed: 6, requestsPerSecond: 7.25, etaS: 75 }));
  view.show(at({ completed: 30, waiting: 'vllm: answers 401\u001B[2J' }));
  view.show(at({ completed: 30, waiting: 'Waits for room: place 2' }));
  view.end();

  expect(written).toEqual([
    'validating\n',
    'in_progress, 10/1,000\n',
    'in_progress, 1,240/5,000, 7.3/s, ETA 1m15s, 6 failed\n',
    'in_progress, 30/1,000, waiting: vllm: answers 401\n',
    'in_progress, 30/1,000, Waits for room: place 2\n',
  ]);
});

test('on a terminal: one bar that is drawn over, never wider than the terminal', () => {
  const { written, view } = recorder({ isTTY: true, columns: 50 });

  view.show(at({ completed: 500, requestsPerSecond: 120, etaS: 4, waiting: 'a long reason '.repeat(9) }));
  view.end();

  expect(written[0]).toMatch(/^\r/);
  expect(written[0]).toContain('in_progress ████████████░░░░░░░░░░░░  50%  5');
  expect(written[0]?.replace('\r', '').replace('\u001B[K', '')).toHaveLength(49);
  expect(written.at(-1)).toBe('\n');
});

test.each([
  [0, '0s'],
  [59.2, '1m00s'],
  [61, '1m01s'],
  [3_599.5, '1h00m'],
  [7_322, '2h02m'],
])('%d seconds read %s', (seconds, text) => {
  expect(shortTime(seconds)).toBe(text);
});
