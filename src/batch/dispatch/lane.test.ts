import { expect, test } from 'vitest';
import { NO_USAGE, type Upstream } from '../../upstream/port.ts';
import { Lane, type Outcome } from './lane.ts';

const upstream = (name: string): Upstream => ({
  name,
  call: () =>
    Promise.resolve({
      kind: 'answer',
      status: 200,
      body: Buffer.from('{}'),
      requestId: null,
      retryAfterMs: null,
      usage: NO_USAGE,
      fault: null,
    }),
  probe: () => Promise.resolve({ kind: 'models', ids: [] }),
  close: () => Promise.resolve(),
});
const lane = (name = 'u') => new Lane(upstream(name), () => 1);

/** Sends one request and notes what came of it. */
function reply(on: Lane, outcome: Partial<Outcome> & Pick<Outcome, 'sort' | 'nowMs'>): void {
  const kind = outcome.wasProbe ? 'probe' : 'request';
  on.start(kind);
  on.note({
    lineKey: 'l',
    startedAtMs: outcome.nowMs - 1,
    retryAfterMs: null,
    wasProbe: false,
    isAnswer: outcome.sort !== 'down',
    message: 'm',
    ...outcome,
  });
}

test('three failed calls in a row open a lane, and it asks again with growing pauses of at most a minute', () => {
  const down = lane();
  for (let call = 0; call < 3; call += 1) reply(down, { sort: 'down', nowMs: 0 });
  expect(down.readiness(0)).toBe(1_000);
  expect(down.readiness(1_000)).toBe('probe');

  let nowMs = 1_000;
  const pausesMs: number[] = [];
  for (let probe = 0; probe < 9; probe += 1) {
    reply(down, { sort: 'down', nowMs, wasProbe: true });
    const nextMs = down.readiness(nowMs);
    pausesMs.push(Number(nextMs) - nowMs);
    nowMs = Number(nextMs);
  }

  expect(pausesMs).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000]);
});

test('only one probe is out at a time, and its success closes the lane', () => {
  const down = lane();
  for (let call = 0; call < 3; call += 1) reply(down, { sort: 'down', nowMs: 0 });

  down.start('probe');
  expect(down.readiness(5_000)).toBe(null);

  down.note({
    sort: 'answered',
    lineKey: 'l',
    startedAtMs: 4_999,
    nowMs: 5_000,
    retryAfterMs: null,
    wasProbe: true,
    isAnswer: true,
    message: '',
  });
  expect(down.readiness(5_000)).toBe('request');
  expect(down.trouble).toBe(null);
});

test('replies of calls that were under way when a lane opened do not push its probe away', () => {
  const down = lane();
  for (let call = 0; call < 30; call += 1) reply(down, { sort: 'down', nowMs: call });

  expect(down.readiness(30)).toBe(1_002);
});

test('a success between failures keeps a lane closed', () => {
  const flaky = lane();
  for (let call = 0; call < 20; call += 1)
    reply(flaky, { sort: call % 3 === 2 ? 'answered' : 'down', nowMs: call });

  expect(flaky.isOpen).toBe(false);
});

test('a key that is refused opens a lane after three calls, and says so', () => {
  const misconfigured = lane('vllm');
  for (let call = 0; call < 3; call += 1)
    reply(misconfigured, { sort: 'refused', nowMs: 0, message: 'answers 401: no' });

  expect(misconfigured.isOpen).toBe(true);
  expect(misconfigured.trouble).toBe('vllm: answers 401: no');
});

test('one line that is refused again and again after others got through does not open a lane; three lines do', () => {
  const healthy = lane();
  reply(healthy, { sort: 'answered', nowMs: 1 });
  for (let call = 0; call < 9; call += 1) reply(healthy, { sort: 'refused', nowMs: 2, lineKey: 'a' });
  expect(healthy.isOpen).toBe(false);

  for (const lineKey of ['b', 'c']) reply(healthy, { sort: 'refused', nowMs: 3, lineKey });
  expect(healthy.isOpen).toBe(true);
});

test('ten lines that fail in a row open a lane; one line that fails ten times does not', () => {
  const poisoned = lane();
  for (let call = 0; call < 10; call += 1) reply(poisoned, { sort: 'suspect', nowMs: 0, lineKey: 'a' });
  expect(poisoned.isOpen).toBe(false);

  for (let call = 0; call < 9; call += 1) reply(poisoned, { sort: 'suspect', nowMs: 0, lineKey: `l${call}` });
  expect(poisoned.isOpen).toBe(true);
});

test('nothing is sent before the time that a 429 asked for', () => {
  const throttled = lane();
  reply(throttled, { sort: 'throttled', nowMs: 100, retryAfterMs: 5_000 });

  expect(throttled.readiness(5_099)).toBe(5_100);
  expect(throttled.readiness(5_100)).toBe('request');
});

test('a lane that was unreachable closes when a probe is answered, even with a 500: that is the line', () => {
  const back = lane();
  for (let call = 0; call < 3; call += 1) reply(back, { sort: 'down', nowMs: 0 });

  reply(back, { sort: 'suspect', nowMs: 1_000, wasProbe: true, isAnswer: false });
  expect(back.isOpen).toBe(true);
  reply(back, { sort: 'suspect', nowMs: 10_000, wasProbe: true });

  expect(back.isOpen).toBe(false);
});
