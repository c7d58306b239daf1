import { describe, expect, test } from 'vitest';
import { createProgressView, frame, type Progress, shortTime } from './progress.ts';
import { displayWidth } from './width.ts';

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

/** What a view writes to such a stream. */
function recorder({ isTTY, columns = 120 }: { isTTY: boolean; columns?: number }) {
  const written: string[] = [];
  const stream = { isTTY, columns, write: (text: string) => written.push(text) > 0 };
  const clock = { nowMs: 0 };
  return { written, clock, view: createProgressView(stream, () => clock.nowMs) };
}

test('without a terminal a line is printed at each tenth and every minute', () => {
  const { written, clock, view } = recorder({ isTTY: false });

  view.show(at({ status: 'validating', total: 0 }));
  for (let completed = 0; completed <= 250; completed++) view.show(at({ completed }));
  clock.nowMs = 59_999;
  view.show(at({ completed: 251 }));
  clock.nowMs = 60_000;
  view.show(at({ completed: 1_234, total: 5_000, failed: 6, requestsPerSecond: 7.25, etaS: 75 }));
  view.end();

  expect(written).toEqual([
    'validating\n',
    'in_progress, 0/1,000\n',
    'in_progress, 100/1,000\n',
    'in_progress, 200/1,000\n',
    'in_progress, 1,240/5,000, 7.3/s, ETA 1m15s, 6 failed\n',
  ]);
});

test('without a terminal a reason that comes and goes every second is printed once a minute', () => {
  const { written, clock, view } = recorder({ isTTY: false });

  for (let second = 0; second < 150; second++) {
    clock.nowMs = second * 1_000;
    view.show(at({ completed: second, waiting: second % 2 === 1 ? 'vllm answers 429\u001B[2J' : null }));
  }

  expect(written.filter((line) => line.includes('waiting: vllm answers 429\n')).length).toBeLessThanOrEqual(
    3,
  );
  expect(written.slice(0, 3)).toEqual([
    'in_progress, 0/1,000\n',
    'in_progress, 1/1,000\n',
    '  waiting: vllm answers 429\n',
  ]);
  expect(written.length).toBeLessThanOrEqual(8);
});

const REASON =
  'The upstream http://127.0.0.1:18201/v1 answers 503: 모델을 불러오는 중입니다. It is tried again in 30 seconds.';

describe.each([40, 60, 80, 120, 200])('on a terminal of %d columns', (columns) => {
  const busy = at({
    completed: 512_345,
    total: 1_000_000,
    failed: 77,
    requestsPerSecond: 1_250,
    etaS: 4_000,
  });

  test('every line is narrower than the terminal, and every figure is shown', () => {
    const lines = frame({ ...busy, waiting: REASON }, columns - 1);

    for (const line of lines) expect(displayWidth(line)).toBeLessThan(columns);
    const text = lines.join(' ').replaceAll(/\s+/g, ' ');
    for (const figure of ['in_progress', '51%', '512,422/1,000,000', '1,250/s', 'ETA 1h06m', '77 failed'])
      expect(text).toContain(figure);
    expect(text).toContain(`waiting: ${REASON}`);
  });

  test('the reason begins on its own line, below the bar', () => {
    const lines = frame({ ...busy, waiting: REASON }, columns - 1);

    expect(lines[0]).toMatch(/^in_progress █+░+ +51%/);
    expect(lines.some((line) => line.startsWith('waiting: The upstream'))).toBe(true);
  });
});

test('on a terminal each state is drawn over the last one, and messages stay above it', () => {
  const { written, view } = recorder({ isTTY: true, columns: 50 });

  view.show(at({ completed: 500, waiting: 'a long reason '.repeat(9) }));
  view.show(at({ completed: 501 }));
  view.say('news');
  view.end();

  const rows = written[0]?.split('\n').length ?? 0;
  expect(rows).toBeGreaterThan(3);
  expect(written[1]?.startsWith(`\r\u001B[${rows - 1}A\u001B[Jin_progress`)).toBe(true);
  expect(written[2]?.startsWith('\r\u001B[Jnews\nin_progress')).toBe(true);
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
