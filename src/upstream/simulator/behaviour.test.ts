import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import type { BatchEndpoint } from '../../contract/batch.ts';
import { systemClock } from '../../core/clock.ts';
import type { Clock } from '../../core/clock.ts';
import { createHttpUpstream } from '../openai-http.ts';
import type { Upstream, UpstreamReply } from '../port.ts';
import { BehaviourError, parseBehaviour } from './behaviour.ts';
import { createSimulatorServer } from './server.ts';
import { createScript, createSimulator } from './simulator.ts';

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

/** A clock that moves when somebody sleeps, and when the test says so. */
function createTestClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  return {
    now: () => nowMs,
    mono: () => nowMs,
    sleep: async (delayMs, signal) => {
      signal?.throwIfAborted();
      nowMs += delayMs;
    },
    advance: (ms) => void (nowMs += ms),
  };
}

interface Place {
  readonly name: string;
  readonly open: (behaviour: string, clock?: Clock, seed?: number) => Promise<Upstream>;
}

const PLACES: readonly Place[] = [
  {
    name: 'in this process',
    open: async (behaviour, clock = systemClock, seed = 1) =>
      createSimulator({
        script: createScript(parseBehaviour(behaviour), { seed, clock }),
        clock,
        timeoutMs: 60,
      }),
  },
  {
    name: 'as a server',
    open: async (behaviour, clock = systemClock, seed = 1) => {
      const script = createScript(parseBehaviour(behaviour), { seed, clock });
      const stopped = new AbortController();
      const server = createSimulatorServer({ script, clock }, stopped.signal);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      const upstream = createHttpUpstream({
        name: 's',
        baseUrl: `http://127.0.0.1:${port}/v1`,
        timeoutMs: 3_000,
      });
      endings.push(async () => {
        stopped.abort();
        await upstream.close();
        server.closeAllConnections();
        if (server.listening) await new Promise((resolve) => server.close(resolve));
      });
      return upstream;
    },
  },
];

const never = new AbortController().signal;

const BODIES: Readonly<Record<BatchEndpoint, object>> = {
  '/chat/completions': { messages: [{ role: 'user', content: 'Hi' }] },
  '/completions': { prompt: 'Hi' },
  '/responses': { input: 'Hi' },
  '/embeddings': { input: 'Hi' },
};

const MODELS: Readonly<Record<BatchEndpoint, string>> = {
  '/chat/completions': 'gpt-4o',
  '/completions': 'gpt-35-turbo',
  '/responses': 'gpt-4o',
  '/embeddings': 'text-embedding-3-small',
};

function send(
  upstream: Upstream,
  { line = 1, text = 'Hi', endpoint = '/chat/completions' as BatchEndpoint, customId = '' } = {},
): Promise<UpstreamReply> {
  const json = JSON.stringify({ model: 'gpt-4o', ...BODIES[endpoint] }).replace('Hi', text);
  const body = Buffer.from(json.replace('gpt-4o', MODELS[endpoint]));
  return upstream.call(
    {
      endpoint,
      body,
      model: { start: 0, end: 0 },
      idempotencyKey: `batch_1-${line}`,
      customIdJson: Buffer.from(JSON.stringify(customId)),
    },
    never,
  );
}

/** Says in short what came: a status, a fault in brackets, or why there was no answer. */
function short(reply: UpstreamReply): string | number {
  if (reply.kind === 'failure') return reply.reason;
  return reply.fault === null ? reply.status : `[${reply.fault.message}]`;
}

describe.each(PLACES)('a behaviour $name', ({ open }) => {
  test('touches what a rule matches, by its text or its line, and nothing else', async () => {
    const upstream = await open(`
      - when: { text: [venom, poison] }
        do: { status: 503, message: no healthy upstream }
      - when: { line: 3.., not: { line: 5 } }
        do: 403
      - when: { endpoint: /embeddings }
        do: { status: 404, body: { detail: Not Found } }
    `);

    const replies = [
      await send(upstream),
      await send(upstream, { text: 'a venom b' }),
      await send(upstream, { line: 3 }),
      await send(upstream, { line: 5 }),
      await send(upstream, { endpoint: '/embeddings' }),
      await send(upstream, { endpoint: '/responses' }),
    ];

    expect(replies.map(short)).toEqual([200, 503, 403, 200, 404, 200]);
    expect(replies[1]).toMatchObject({ body: expect.objectContaining({}), retryAfterMs: null });
    expect(textOf(replies[1])).toContain('no healthy upstream');
    expect(textOf(replies[4])).toBe('{"detail":"Not Found"}');
  });

  test('counts calls, attempts of a line, and how often a rule was used', async () => {
    const upstream = await open(`
      - when: { attempt: ..2, line: 7 }
        do: 425
      - when: { call: 5.. }
        do: { status: 400, message: Your credit balance is too low }
        times: 2
    `);

    const replies: UpstreamReply[] = [];
    for (const line of [7, 1, 7, 7, 2, 3, 4]) replies.push(await send(upstream, { line }));

    expect(replies.map(short)).toEqual([425, 200, 425, 200, 400, 400, 200]);
  });

  test('lasts as long as it says, from the first request on', async () => {
    const clock = createTestClock();
    const upstream = await open('[{ when: { seconds: 10..20 }, do: 402 }]', clock);

    const replies = [await send(upstream)];
    for (const passMs of [10_000, 10_000, 1_000]) {
      clock.advance(passMs);
      replies.push(await send(upstream));
    }

    expect(replies.map(short)).toEqual([200, 402, 402, 200]);
  });

  test('depends on the seed where it leaves things to chance', async () => {
    const draw = async (seed: number) => {
      const upstream = await open('[{ when: { chance: 0.5 }, do: 500 }]', systemClock, seed);
      const replies: UpstreamReply[] = [];
      for (let line = 1; line <= 20; line++) replies.push(await send(upstream, { line }));
      return replies.map(short);
    };

    const [one, again, other] = [await draw(3), await draw(3), await draw(4)];

    expect(one).toEqual(again);
    expect(one).not.toEqual(other);
    expect(new Set(one)).toEqual(new Set([200, 500]));
  });

  test('makes each odd answer that servers give', async () => {
    const upstream = await open(`
      - { when: { text: page }, do: { body: "<html>Welcome</html>" } }
      - { when: { text: nothing }, do: { body: "" } }
      - { when: { text: moved }, do: { status: 307, headers: { Location: "https://login.example.com/x" } } }
      - { when: { text: broken off }, do: { merge: { choices: [{ finish_reason: error }] } } }
      - { when: { text: nochoice }, do: { merge: { choices: [] } } }
      - { when: { text: inside }, do: { body: { error: { message: boom, code: 502 } } } }
      - { when: { text: streamed }, do: { stream: true } }
      - { when: { text: packed }, do: { compress: br } }
      - { when: { text: half }, do: { cut: true } }
      - { when: { text: detail }, do: { status: 422, body: { detail: [{ loc: [body], msg: bad }] } } }
      - { when: { text: plain }, do: { status: 500, body: "Internal Server Error" } }
      - { when: { text: other }, do: { merge: { model: not-ours, id: null } } }
      - { when: { text: wait }, do: { status: 429, headers: { retry-after: 120 } } }
      - { when: { text: hang }, do: hang }
      - { when: { text: reset }, do: reset }
      - { when: { text: close }, do: close }
    `);
    const of = async (text: string, endpoint?: BatchEndpoint) =>
      short(await send(upstream, { text, ...(endpoint && { endpoint }) }));

    expect(await of('page')).toBe('foreign_answer');
    expect(await of('nothing')).toBe('foreign_answer');
    expect(await of('moved')).toBe('redirect');
    expect(await of('broken off')).toBe('[the generation broke off (finish_reason: error)]');
    expect(await of('nochoice')).toBe('[its answer has no choice]');
    expect(await of('inside')).toBe('[boom]');
    for (const endpoint of ['/chat/completions', '/completions', '/responses'] as const)
      expect([endpoint, await of('streamed', endpoint)]).toEqual([endpoint, 200]);
    expect(await of('packed')).toBe(200);
    expect(await of('half')).toBe('bad_answer');
    expect(await of('detail')).toBe(422);
    expect(textOf(await send(upstream, { text: 'plain' }))).toContain('"message":"Internal Server Error"');
    expect(textOf(await send(upstream, { text: 'other' }))).toContain('"model":"not-ours"');
    expect(await send(upstream, { text: 'wait' })).toMatchObject({ status: 429, retryAfterMs: 120_000 });
    expect(await of('hang')).toBe('timeout');
    expect(await of('reset')).toBe('reset');
    expect(await of('close')).toBe('reset');
  });

  test('gives the usual answer after a delay, or another one', async () => {
    const clock = createTestClock();
    const upstream = await open(
      '[{ when: { text: slow }, do: { delay: 42s } }, { when: { text: late }, do: { delay: 2m, status: 504 } }]',
      clock,
    );

    expect(short(await send(upstream, { text: 'slow' }))).toBe(200);
    expect(clock.mono()).toBe(42_000);
    expect(short(await send(upstream, { text: 'late' }))).toBe(504);
    expect(clock.mono()).toBe(162_000);
  });

  test('a line can fell the server for everybody, until its time is over', async () => {
    const clock = createTestClock();
    const upstream = await open('[{ when: { text: killer }, do: { down: { for: 10s, as: 503 } } }]', clock);

    const during = [await send(upstream, { text: 'killer' }), await send(upstream, { line: 2 })];
    const list = await upstream.probe(never);
    clock.advance(10_000);
    const after = await send(upstream, { line: 2 });

    expect(during.map(short)).toEqual([503, 503]);
    expect(list.kind).toBe('models');
    expect(short(after)).toBe(200);
  });

  test('a server that is down for ever refuses connections, also for its list of models', async () => {
    const upstream = await open('[{ when: { text: killer }, do: { down: {} } }]');

    expect(short(await send(upstream, { text: 'killer' }))).toBe('reset');
    await expect.poll(async () => short(await send(upstream, { line: 2 }))).toBe('unreachable');
    expect(await upstream.probe(never)).toMatchObject({ kind: 'failure', reason: 'unreachable' });
  });

  test('the list of models is touched only where a rule names it', async () => {
    const all = await open('[{ do: 500 }]');
    const named = await open('[{ when: { endpoint: /models }, do: { merge: { data: [] } } }]');
    const broken = await open('[{ when: { endpoint: /models }, do: 500 }]');

    expect(await all.probe(never)).toMatchObject({ kind: 'models', ids: expect.arrayContaining(['gpt-4o']) });
    expect(await named.probe(never)).toEqual({ kind: 'models', ids: [] });
    expect(await broken.probe(never)).toMatchObject({ kind: 'answer', status: 500 });
  });
});

test('a server that was down listens again when its time is over', async () => {
  const upstream = await PLACES[1]!.open(
    '[{ when: { text: killer }, do: { down: { for: 300ms, as: refused } } }]',
  );

  await send(upstream, { text: 'killer' });
  await expect.poll(async () => short(await send(upstream, { line: 2 }))).toBe('unreachable');

  await expect.poll(async () => short(await send(upstream, { line: 2 })), { timeout: 10_000 }).toBe(200);
});

test('in this process a line is also known by its custom_id', async () => {
  const upstream = await PLACES[0]!.open('[{ when: { customId: [a, b] }, do: 400 }]');

  expect(short(await send(upstream, { customId: 'b' }))).toBe(400);
  expect(short(await send(upstream, { customId: 'c' }))).toBe(200);
});

test('overload is what many requests at once make', async () => {
  const clock = createTestClock();
  const upstream = await PLACES[0]!.open('[{ when: { inFlight: 3.. }, do: 503 }]', clock);

  const replies = await Promise.all([1, 2, 3, 4].map((line) => send(upstream, { line })));

  expect(replies.map(short)).toEqual([200, 200, 503, 503]);
});

test('every example of docs/simulator.md is a behaviour', async () => {
  const page = await readFile(new URL('../../../docs/simulator.md', import.meta.url), 'utf8');
  const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(([, yaml = '']) => parseBehaviour(yaml));

  expect(examples.map((rules) => rules.length > 2)).toEqual([true, true]);
});

test('every fault of the file is told with its rule', () => {
  const faults = (text: string): readonly string[] => {
    try {
      parseBehaviour(text);
      return [];
    } catch (error) {
      if (error instanceof BehaviourError) return error.faults;
      throw error;
    }
  };

  expect(faults('')).toEqual([]);
  expect(faults('{ when: {} }')).toEqual(['expected a list of rules, each with `when` and `do`']);
  expect(
    faults('[{ when: { line: x }, do: 99 }, { when: { tekst: a }, do: { delay: soon } }, { do: sleep }]'),
  ).toEqual([
    'rule 1: when.line: expected a number, or a range such as 2..5, 51.. or ..10',
    'rule 1: do.status: expected a status from 200 to 599',
    'rule 2: when: no such key: tekst. Did you mean text?',
    'rule 2: do.delay: expected a duration like 500ms, 30s or 2m',
    'rule 3: do: expected a status from 200 to 599, hang, reset, close, or a mapping of what is done',
  ]);
  expect(faults('[{ when: { call: 9..2, chance: 2, text: 5, not: [] }, times: 0 }, 5]')).toEqual([
    'rule 1: when.text: expected a text, or a list of texts',
    'rule 1: when.call: 9..2 ends before it begins',
    'rule 1: when.chance: expected a number from 0 to 1',
    'rule 1: when.not: expected a mapping',
    'rule 1: do: expected a status from 200 to 599, hang, reset, close, or a mapping of what is done',
    'rule 1: times: expected a whole number from 1 on',
    'rule 2: expected a mapping with `do`, and `when` where it is not for all requests',
  ]);
  expect(faults('[{ do: { end: x, cut: 1, compress: lz, merge: 1, down: { as: 5 }, zz: 1 } }]')).toEqual([
    'rule 1: do.merge: expected a mapping',
    'rule 1: do.compress: expected gzip, br, deflate or zstd',
    'rule 1: do.cut: expected true or false',
    'rule 1: do.end: expected hang, reset or close',
    'rule 1: do.down.as: expected refused, hang, reset, close or a status from 200 to 599',
    expect.stringMatching(/^rule 1: do: no such key: zz\. There are delay, status, /),
  ]);
  expect(faults('[{ do: {').length).toBeGreaterThan(0);
});

function textOf(reply: UpstreamReply | undefined): string {
  return reply?.kind === 'answer' ? Buffer.from(reply.body).toString() : '';
}
