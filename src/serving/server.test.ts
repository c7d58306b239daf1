import { beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { silentLog } from '../core/log.ts';
import type { UpstreamProbe } from '../upstream/port.ts';
import type { ClassifiedFailure } from './failure.ts';
import { Server } from './server.ts';

let clock: ManualClock;
let server: Server;
beforeEach(() => {
  clock = new ManualClock();
  server = new Server('model-server', { clock, random: () => 0, log: silentLog });
});

const readiness = () => server.readiness(clock.mono());

/** A call that has this outcome at once. */
function call(kind: ClassifiedFailure['kind'] | 'accepted', given: Partial<ClassifiedFailure> = {}): void {
  const nowMs = clock.mono();
  const call = readiness() === 'probe' ? 'probe' : 'request';
  server.start(call);
  if (kind === 'accepted') server.accepted(nowMs);
  else
    server.failed({
      failure: { kind, names: null, text: 'it failed', retryAfterMs: null, ...given },
      startedAtMs: nowMs,
      nowMs,
      isAboutServer: true,
      isLoad: true,
    });
  server.end(call);
}

const fail = (kind: ClassifiedFailure['kind'], times: number): void => {
  for (let time = 0; time < times; time += 1) call(kind);
};

describe('the circuit breaker', () => {
  test('opens when three calls in a row reach nobody', () => {
    fail('unreachable', 2);
    call('failed');
    fail('unreachable', 2);
    expect(readiness()).toBe('request');

    fail('unreachable', 1);

    expect(readiness()).toBe(clock.mono() + 500);
    expect(server.isDown).toBe(true);
    expect(server.trouble?.text).toBe('model-server does not answer: it failed');
  });

  test('lets one request through when its pause is over, and none while that is in flight', async () => {
    fail('unreachable', 3);
    await clock.advance(500);
    expect(readiness()).toBe('probe');

    server.start('probe');

    expect(readiness()).toBeNull();
  });

  test.each(['accepted', 'failed', 'throttled', 'refused'] as const)(
    'closes with any reply of the server, be it %s, and tells those who wait for it',
    async (kind) => {
      let calls = 0;
      server.watch(() => (calls += 1));
      fail('unreachable', 3);
      await clock.advance(500);
      calls = 0;

      call(kind);

      expect(server.isDown).toBe(false);
      expect(calls).toBeGreaterThan(0);
    },
  );

  test.each(['unreachable', 'silent'] as const)(
    'stays open when its probe is %s, with pauses that grow to a minute',
    async (kind) => {
      fail('unreachable', 3);
      const pausesMs: number[] = [];
      for (let probe = 0; probe < 9; probe += 1) {
        const atMs = readiness();
        expect(atMs).toBeTypeOf('number');
        pausesMs.push(Number(atMs) - clock.mono());
        await clock.advance(pausesMs.at(-1));
        call(kind);
      }

      expect(pausesMs).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    },
  );

  test.each([
    ['unreachable', 100],
    ['silent', 100],
    ['silent', 600],
  ] as const)(
    'does not wait longer because a call that was in flight when it opened is %s %i ms later',
    async (kind, afterMs) => {
      server.start('request');
      const startedAtMs = clock.mono();
      fail('unreachable', 3);
      await clock.advance(afterMs);
      const before = readiness();

      const failure = { kind, names: null, text: 'it failed', retryAfterMs: null } as const;
      server.failed({ failure, startedAtMs, nowMs: clock.mono(), isAboutServer: true, isLoad: true });
      server.end('request');

      expect(readiness()).toBe(before);
    },
  );
});

describe('the pace that a server asks for', () => {
  test('is kept to the millisecond, whoever asks, and the latest time counts', () => {
    call('throttled', { retryAfterMs: 5_000 });
    call('throttled', { retryAfterMs: 2_000 });

    expect(server.readiness(clock.mono() + 4_999)).toBe(clock.mono() + 5_000);
    expect(server.readiness(clock.mono() + 5_000)).toBe('request');
    expect(server.trouble?.text).toContain('asks to slow down until');
  });

  test('without a time is a pause that grows, once for all that were in flight together', async () => {
    fail('throttled', 3);
    expect(readiness()).toBe(clock.mono() + 500);

    await clock.advance(500);
    fail('throttled', 1);
    expect(readiness()).toBe(clock.mono() + 1_000);
  });

  test('starts anew when a request is accepted', async () => {
    fail('throttled', 1);
    await clock.advance(500);
    call('accepted');
    await clock.advance(1);
    fail('throttled', 1);

    expect(readiness()).toBe(clock.mono() + 500);
  });
});

test('whoever finds the window full goes on in turn, one for each place', () => {
  for (let i = 0; i < 20; i += 1) server.start('request');
  fail('unavailable', 1);
  expect(readiness()).toBe('full');
  const went: string[] = [];
  server.waitForPlace(() => went.push('first'));
  server.waitForPlace(() => went.push('second'));

  server.end('request');
  expect(went).toEqual(['first']);
  server.end('request');

  expect(went).toEqual(['first', 'second']);
});

describe('an outage', () => {
  test('is a death when the breaker opens, for the calls that were in flight when it began', async () => {
    const before = clock.mono();
    await clock.advance(10);
    call('silent');
    const outage = server.outageOf(before);
    await clock.advance(10);
    expect(server.outageOf(clock.mono())).toBeNull();

    fail('unreachable', 3);

    expect(outage).toMatchObject({ isDeath: true });
  });

  test('ends when the server answers, and then is no death', () => {
    call('silent');
    const outage = server.outageOf(clock.mono());
    call('accepted');
    server.noteDeath();

    expect(outage).toMatchObject({ isDeath: false, isRunning: false });
  });
});

describe('the list of models', () => {
  const answering = (answer: () => UpstreamProbe) => {
    const asked: number[] = [];
    const upstream = {
      probe: async () => {
        asked.push(clock.mono());
        return answer();
      },
    };
    return { asked, probe: () => server.probeModels(upstream) };
  };

  test('is asked for once by all who ask together, and not again for five seconds', async () => {
    const { asked, probe } = answering(() => ({ kind: 'models', ids: ['m'] }));

    expect(await Promise.all([probe(), probe()])).toEqual([true, true]);
    await clock.advance(4_999);
    await probe();
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    await probe();

    expect(asked).toHaveLength(2);
    expect(server.models).toEqual(['m']);
  });

  test.each([
    [true, 'a list', { kind: 'models', ids: [] }],
    [true, 'that there is none', { kind: 'answer', status: 404, message: 'm' }],
    [false, 'that of a gateway', { kind: 'answer', status: 502, message: 'm' }],
    [false, 'that a key is missing', { kind: 'answer', status: 401, message: 'm' }],
    [false, 'none', { kind: 'failure', reason: 'timeout', message: 'm' }],
  ] as const)('shows that the server lives (%s) when its answer is %s', async (lives, _what, answer) => {
    const beganMs = clock.mono() - 1;

    await answering(() => answer).probe();

    expect(server.livesSince(beganMs)).toBe(lives);
  });
});
