import { expect, test } from 'vitest';
import { createLog } from '../core/log.ts';
import { RetryStorms } from './retry-storm.ts';

function storms() {
  const clock = { nowMs: 0, mono: () => clock.nowMs };
  const told: unknown[] = [];
  const log = createLog(({ event, fields }) => told.push({ event, ...Object.fromEntries(fields) }));
  return { clock, told, storms: new RetryStorms({ clock, log }) };
}

test('a storm of retries is logged once a minute, with its reasons', () => {
  const { clock, told, storms: of } = storms();
  for (let call = 0; call < 300; call += 1) of.note({ upstream: 'vllm', reason: call % 3 ? '429' : '503' });
  of.report();
  expect(told).toEqual([]);

  clock.nowMs = 60_000;
  of.report();
  of.report();

  expect(told).toEqual([
    {
      event: 'upstream.retries',
      upstream: 'vllm',
      retries: 300,
      durationMs: 60_000,
      reason: '200 × 429, 100 × 503',
    },
  ]);
});

test('a few retries in a minute are not logged, and do not count for the next minute', () => {
  const { clock, told, storms: of } = storms();
  for (let minute = 1; minute <= 3; minute += 1) {
    for (let call = 0; call < 9; call += 1) of.note({ upstream: 'vllm', reason: '500' });
    clock.nowMs = minute * 60_000;
    of.report();
  }

  expect(told).toEqual([]);
});
