import { expect, test } from 'vitest';
import { NO_USAGE, type Upstream } from '../../upstream/port.ts';
import type { Lane } from './lane.ts';
import { Lanes } from './lanes.ts';

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

/** Three calls that find nobody. */
function takeDown(lane: Lane): void {
  for (let call = 0; call < 3; call += 1) {
    lane.start('request');
    lane.note({
      sort: 'down',
      lineKey: 'l',
      startedAtMs: 0,
      nowMs: 0,
      retryAfterMs: null,
      wasProbe: false,
      isAnswer: false,
      message: 'connection refused',
    });
  }
}

function laneOf(lanes: Lanes, nowMs = 0): Lane {
  const { lane } = lanes.choose(nowMs);
  if (lane === null) throw new Error('no lane takes a request');
  return lane;
}

test('a request goes to the least loaded lane that is ready, and a probe before requests', () => {
  const lanes = new Lanes(() => 1);
  const [busy, idle, down] = [upstream('busy'), upstream('idle'), upstream('down')];
  lanes.update([down]);
  takeDown(laneOf(lanes));
  expect(lanes.choose(0)).toEqual({ lane: null, atMs: 1_000 });

  lanes.update([busy, idle, down]);
  laneOf(lanes).start('request');

  expect(lanes.choose(999)).toMatchObject({ lane: { upstream: idle }, kind: 'request' });
  expect(lanes.choose(1_000)).toMatchObject({ lane: { upstream: down }, kind: 'probe' });
});

test('an upstream that stays, or comes back, keeps its health', () => {
  const lanes = new Lanes(() => 1);
  const [down, other] = [upstream('down'), upstream('other')];
  lanes.update([down]);
  const lane = laneOf(lanes);
  takeDown(lane);

  lanes.update([other, down]);
  lanes.update([other]);
  lanes.update([down]);

  expect(lanes.has(lane)).toBe(true);
  expect(lanes.trouble).toBe('down: connection refused');
});

test('an upstream that is left out takes nothing more, and one of the same name is another one', () => {
  const lanes = new Lanes(() => 1);
  lanes.update([upstream('u')]);
  const before = laneOf(lanes);

  lanes.update([upstream('u')]);
  expect(lanes.has(before)).toBe(false);
  expect(laneOf(lanes)).not.toBe(before);

  lanes.update([]);
  expect(lanes.isEmpty).toBe(true);
  expect(lanes.choose(0)).toEqual({ lane: null, atMs: null });
});
