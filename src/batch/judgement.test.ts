import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  eventually,
  many,
  ok,
  openEngineBench,
  requestLine,
  type EngineBench,
} from '../../test/support/engine.ts';
import { failure, lineIn, REAL, says, SPEED, waiting } from '../../test/support/judgement.ts';

let bench: EngineBench;
beforeEach(async () => {
  bench = await openEngineBench();
  bench.speed = SPEED;
});
afterEach(() => bench.close());

describe('a reply that names its request is about that request, whatever its status and however few the lines are', () => {
  test.each([
    [403, 'The request requires moderation: your input was flagged'],
    [500, 'the request exceeds the available context size (4096 tokens)'],
    [429, 'Request too large for model on tokens per min. Limit 30000, Requested 45000'],
    [503, 'This prompt is too long for the model'],
  ] as const)('%i %s', async (status, text) => {
    bench.deploy();
    const engine = await bench.start({ retriesMax: 2, ...REAL });
    bench.reply = () => says(status, text);

    const { batch } = await bench.create(engine, await bench.upload(many(2)));

    expect((await bench.ended(batch)).counts).toEqual({ total: 2, completed: 0, failed: 2 });
  });
});

describe('rejections', () => {
  test('rejections of the first 20 lines in the same words are about the set-up, and no line pays', async () => {
    bench.deploy({ concurrencyMax: 32 });
    const engine = await bench.start(REAL);
    let isBroken = true;
    bench.reply = () => (isBroken ? says(400, 'Server is pinned to something else') : ok);

    const { batch } = await bench.create(engine, await bench.upload(many(40)));
    await eventually(async () =>
      expect(await waiting(bench, engine, batch)).toContain(
        'model-server refuses the requests: 400: Server is pinned to something else',
      ),
    );
    expect((await bench.batch(batch)).counts.failed).toBe(0);
    isBroken = false;

    expect((await bench.ended(batch)).counts).toEqual({ total: 40, completed: 40, failed: 0 });
  });

  test("when the server's list of models lacks the model, one rejection is about the set-up, and no line pays", async () => {
    const served = { ...bench.upstream('model-server'), model: 'absent' };
    bench.deploy({ upstreams: [served] });
    const engine = await bench.start(REAL);
    let isBroken = true;
    bench.reply = () => (isBroken ? says(400, 'Server is pinned to m') : ok);

    const { batch } = await bench.create(engine, await bench.upload(many(3)));
    await eventually(async () => expect(await waiting(bench, engine, batch)).toContain('pinned to m'));
    isBroken = false;

    expect((await bench.ended(batch)).counts).toEqual({ total: 3, completed: 3, failed: 0 });
  });

  test('a rejection that speaks of what the model cannot do is about its line, whatever the server lists', async () => {
    bench.deploy({ upstreams: [{ ...bench.upstream('model-server'), model: 'absent' }] });
    const engine = await bench.start(REAL);
    bench.reply = () => says(400, 'max_tokens is not supported with this model');

    const { batch } = await bench.create(engine, await bench.upload(many(5)));

    expect((await bench.ended(batch)).counts).toEqual({ total: 5, completed: 0, failed: 5 });
  });

  test('rejections in different words are about single lines', async () => {
    bench.deploy();
    const engine = await bench.start(REAL);
    bench.reply = (request) => says(400, `bad member ${'abc'[lineIn(request) % 3]}`);

    const { batch } = await bench.create(engine, await bench.upload(many(30)));

    expect((await bench.ended(batch)).counts).toEqual({ total: 30, completed: 0, failed: 30 });
  });

  test('an upstream that rejects what another one accepts gets no more lines, and no line pays', async () => {
    bench.deploy({ upstreams: [bench.upstream('well'), bench.upstream('other')], concurrencyMax: 8 });
    const engine = await bench.start(REAL);
    bench.reply = (_request, _signal, upstream) =>
      upstream === 'well' ? ok : says(400, 'this is not served here');

    const { batch } = await bench.create(engine, await bench.upload(many(60)));

    expect((await bench.ended(batch)).counts).toEqual({ total: 60, completed: 60, failed: 0 });
    expect(bench.called.filter((name) => name === 'other').length).toBeLessThan(30);
  });

  test('a rejected line of a batch that two upstreams serve pays for itself', async () => {
    bench.deploy({ upstreams: [bench.upstream('a'), bench.upstream('b')] });
    const engine = await bench.start(REAL);
    bench.reply = (request) => (lineIn(request) % 5 === 0 ? says(400, 'a bad member') : ok);

    const { batch } = await bench.create(engine, await bench.upload(many(20)));

    expect((await bench.ended(batch)).counts).toEqual({ total: 20, completed: 16, failed: 4 });
  });

  test('bad lines at the head of a file pay though the others are accepted late', async () => {
    bench.deploy({ concurrencyMax: 32 });
    const engine = await bench.start(REAL);
    const { promise: rejected, resolve } = Promise.withResolvers<void>();
    let rejections = 0;
    bench.reply = async (request) => {
      if (lineIn(request) < 20) {
        rejections += 1;
        if (rejections > 20) resolve();
        return says(400, 'temperature is not supported');
      }
      await rejected;
      return ok;
    };

    const { batch } = await bench.create(engine, await bench.upload(many(32)));

    expect((await bench.ended(batch)).counts).toEqual({ total: 32, completed: 12, failed: 20 });
  });

  test('few lines that are all rejected alike end with their answers', async () => {
    bench.deploy();
    const engine = await bench.start(REAL);
    bench.reply = () => says(400, 'max_tokens is not supported with this kind');

    const { batch } = await bench.create(engine, await bench.upload(many(5)));

    expect((await bench.ended(batch)).counts).toEqual({ total: 5, completed: 0, failed: 5 });
  });
});

describe('a batch holds up no other', () => {
  test('what is refused at one endpoint says nothing of another', async () => {
    bench.deploy();
    const engine = await bench.start(REAL);
    bench.reply = ({ endpoint }) => (endpoint === '/embeddings' ? says(404, 'no such route') : ok);
    const embeddings = Array.from(
      { length: 10 },
      (_, i) =>
        `{"custom_id":"e${i}","method":"POST","url":"/embeddings","body":{"model":"d","input":"x"}}\n`,
    ).join('');

    const { batch: refused } = await bench.create(engine, await bench.upload(embeddings), {
      endpoint: '/embeddings',
    });
    await eventually(async () => expect(await waiting(bench, engine, refused)).toContain('no such route'));
    const { batch: chat } = await bench.create(engine, await bench.upload(many(100)));

    expect((await bench.ended(chat)).counts.completed).toBe(100);
    expect(await waiting(bench, engine, refused)).toContain('no such route');
  });
});

describe('health and pace belong to the model server', () => {
  beforeEach(() => {
    bench.speed = 1;
  });

  test('a Retry-After that one deployment gets holds for every other on the same server', async () => {
    bench.deploy({ name: 'd' });
    bench.deploy({ name: 'e' });
    const engine = await bench.start(REAL);
    let untilMs = Number.POSITIVE_INFINITY;
    const early: number[] = [];
    let isFirst = true;
    bench.reply = () => {
      if (isFirst) {
        isFirst = false;
        untilMs = performance.now() + 600;
        return says(429, 'slow down', { retryAfterMs: 600 });
      }
      if (performance.now() < untilMs - 5) early.push(untilMs - performance.now());
      return ok;
    };

    const { batch: one } = await bench.create(engine, await bench.upload(many(1)));
    await eventually(() => expect(isFirst).toBe(false));
    const { batch: other } = await bench.create(engine, await bench.upload(requestLine('a', 'e')));

    expect((await bench.ended(one)).counts.completed).toBe(1);
    expect((await bench.ended(other)).counts.completed).toBe(1);
    expect(early).toEqual([]);
  });

  test('lines that fail again and again do not shrink the window of their neighbours, even beside long calls', async () => {
    bench.speed = 50;
    bench.deploy({ concurrencyMax: 8 });
    bench.deploy({ name: 'e', concurrencyMax: 8 });
    const engine = await bench.start(REAL);
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    let failures = 0;
    bench.reply = async (request) => {
      const line = lineIn(request);
      if (line < 3) await over;
      if (line >= 3 && line < 8) {
        failures += 1;
        return says(500, 'kaboom');
      }
      return ok;
    };

    const { batch: bad } = await bench.create(engine, await bench.upload(many(12)));
    await eventually(() => expect(failures).toBeGreaterThan(40));
    const { batch: other } = await bench.create(engine, await bench.upload(requestLine('a', 'e')));

    expect((await bench.ended(other)).counts.completed).toBe(1);
    end();
    expect((await bench.ended(bad)).counts).toEqual({ total: 12, completed: 7, failed: 5 });
  });

  test('bad lines at the head of a file do not keep the lines after them from being answered', async () => {
    bench.speed = SPEED;
    bench.deploy({ concurrencyMax: 4 });
    const engine = await bench.start(REAL);
    bench.reply = (request) => (lineIn(request) < 40 ? says(500, 'kaboom') : ok);

    const { batch } = await bench.create(engine, await bench.upload(many(60)));
    const begunMs = performance.now();

    expect((await bench.ended(batch)).counts).toEqual({ total: 60, completed: 20, failed: 40 });
    expect((performance.now() - begunMs) * SPEED).toBeLessThan(20 * 60_000);
  });

  test('a line that alone gets 429 again and again holds up no other line', async () => {
    bench.speed = 50;
    bench.deploy({ concurrencyMax: 8 });
    const engine = await bench.start({ retriesMax: 3, ...REAL });
    let bad = 0;
    const pausesMs: number[] = [];
    let lastMs = performance.now();
    bench.reply = async (request) => {
      if (lineIn(request) === 5) {
        bad += 1;
        return says(429, 'too much at once', { retryAfterMs: 20_000 });
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
      pausesMs.push(performance.now() - lastMs);
      lastMs = performance.now();
      return ok;
    };

    const { batch } = await bench.create(engine, await bench.upload(many(600)));
    const done = await bench.ended(batch);

    expect(done.counts).toEqual({ total: 600, completed: 599, failed: 1 });
    expect(bad).toBeGreaterThan(2);
    expect(pausesMs.filter((ms) => ms > 300).length).toBeLessThanOrEqual(1);
  });

  test('lines that alone are asked to slow down end within ten minutes', async () => {
    bench.speed = SPEED;
    bench.deploy({ concurrencyMax: 8 });
    const engine = await bench.start(REAL);
    bench.reply = (request) => (lineIn(request) < 10 ? says(429, 'Too Many Requests') : ok);

    const { batch } = await bench.create(engine, await bench.upload(many(40)));
    const begunMs = performance.now();

    expect((await bench.ended(batch)).counts).toEqual({ total: 40, completed: 30, failed: 10 });
    expect((performance.now() - begunMs) * SPEED).toBeLessThan(15 * 60_000);
  });

  test.each([1, 12])(
    'a line that fells its server at each try is failed, though it is the last one (beside %i others)',
    async (total) => {
      bench.speed = 20;
      bench.deploy({ concurrencyMax: 12 });
      const engine = await bench.start({ retriesMax: 2, ...REAL });
      let deadUntilMs = 0;
      const isDead = () => performance.now() < deadUntilMs;
      bench.probe = () =>
        isDead()
          ? { kind: 'failure', reason: 'unreachable', message: 'm' }
          : { kind: 'answer', status: 500, message: 'm' };
      bench.reply = async (request) => {
        if (isDead()) return failure('reset');
        if (lineIn(request) === total) {
          deadUntilMs = performance.now() + 250;
          return failure('reset');
        }
        await new Promise((resolve) => setTimeout(resolve, 15));
        return isDead() ? failure('reset') : ok;
      };

      const { batch } = await bench.create(engine, await bench.upload(many(total + 1)));

      expect((await bench.ended(batch)).counts).toEqual({ total: total + 1, completed: total, failed: 1 });
    },
  );

  test('a line that fells its server at each try is found among others, and the others get their answers', async () => {
    bench.speed = 20;
    bench.deploy({ concurrencyMax: 8 });
    const engine = await bench.start({ retriesMax: 2, ...REAL });
    let deadUntilMs = 0;
    let deaths = 0;
    bench.reply = async (request) => {
      if (performance.now() < deadUntilMs) return failure('unreachable');
      if (lineIn(request) === 7) {
        deaths += 1;
        deadUntilMs = performance.now() + 300;
        return failure('reset');
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
      return performance.now() < deadUntilMs ? failure('reset') : ok;
    };

    const { batch } = await bench.create(engine, await bench.upload(many(60)));
    const done = await bench.ended(batch);

    expect(done.counts).toEqual({ total: 60, completed: 59, failed: 1 });
    expect(deaths).toBeLessThanOrEqual(5);
  });
});
