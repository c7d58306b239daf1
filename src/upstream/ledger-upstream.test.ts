import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startLedgerUpstream } from '../../test/support/ledger-upstream.ts';
import type { LedgerScript, LedgerUpstream } from '../../test/support/ledger-upstream.ts';
import { createHttpUpstream } from './openai-http.ts';
import type { Upstream, UpstreamReply } from './port.ts';

// Crash tests trust this server to tell what really reached it.
const dir = mkdtempSync(join(tmpdir(), 'offpeak-ledger-'));
let server: LedgerUpstream;
let upstream: Upstream;
beforeAll(async () => {
  server = await startLedgerUpstream({ file: join(dir, 'ledger.jsonl') });
  upstream = createHttpUpstream({ name: 'ledger', baseUrl: server.url, timeoutMs: 1_000 });
});
afterAll(async () => {
  await upstream.close();
  await server.stop();
  rmSync(dir, { recursive: true });
});

const never = new AbortController().signal;

function call(key: string, content = 'hi'): Promise<UpstreamReply> {
  const body = Buffer.from(JSON.stringify({ model: 'm', messages: [{ role: 'user', content }] }));
  return upstream.call(
    { endpoint: '/chat/completions', body, model: { start: 9, end: 12 }, idempotencyKey: key },
    never,
  );
}

/** Returns what one call gets under a script, and what the ledger keeps of it. Afterwards the script is gone. */
async function under(script: LedgerScript, key: string, content?: string) {
  await server.script(script);
  const reply = await call(key, content);
  const { entries } = await server.ledger();
  await server.script({
    statusChances: {},
    hangChance: 0,
    resetChance: 0,
    dropChance: 0,
    poison: null,
    latencyMs: 0,
  });
  return { reply, entry: entries.findLast((entry) => entry.key === key) };
}

test('an answer holds the digest of the request, and the ledger its key', async () => {
  const { reply, entry } = await under({}, 'a');

  expect(reply).toMatchObject({ kind: 'answer', usage: { inputTokens: 20, outputTokens: 30 } });
  expect(reply.kind === 'answer' && Buffer.from(reply.body).toString()).toContain(`sha256:${entry?.sha256}`);
  expect(entry).toMatchObject({ key: 'a', path: '/v1/chat/completions', outcome: 200 });
  expect(readFileSync(join(dir, 'ledger.jsonl'), 'utf8')).toContain('"key":"a"');
});

test('a request that was processed before a reset is in the ledger', async () => {
  const { reply, entry } = await under({ resetChance: 1, latencyMs: 20 }, 'b');

  expect(reply).toMatchObject({ kind: 'failure', reason: 'reset' });
  expect(entry?.outcome).toBe('reset');
});

test('a script makes statuses, hangs, drops and poison lines for the caller', async () => {
  const limited = await under({ statusChances: { 429: 1 }, retryAfterMs: 1_500 }, 'c');
  const hung = await under({ hangChance: 1 }, 'd');
  const dropped = await under({ dropChance: 1 }, 'e');
  const poisoned = await under({ poison: { contains: 'venom', outcome: 400 } }, 'f', 'venom');
  const healthy = await under({ poison: { contains: 'venom', outcome: 400 } }, 'g', 'milk');

  expect(limited.reply).toMatchObject({ kind: 'answer', status: 429, retryAfterMs: 1_500 });
  expect(hung.reply).toMatchObject({ kind: 'failure', reason: 'timeout' });
  expect(dropped.reply).toMatchObject({ kind: 'failure', reason: 'reset' });
  expect(poisoned.reply).toMatchObject({ kind: 'answer', status: 400 });
  expect(healthy.reply).toMatchObject({ kind: 'answer', status: 200 });
});

test('while it is down connections are refused, and the ledger can still be read', async () => {
  await server.script({ down: true });
  const before = await server.stats();

  const refused = await call('h');
  const during = await server.stats();
  await server.script({ down: false });
  const answered = await call('h');

  expect(refused).toMatchObject({ kind: 'failure', reason: 'unreachable' });
  expect(during.requests).toBe(before.requests);
  expect(answered).toMatchObject({ kind: 'answer', status: 200 });
});

test('requests in flight are counted', async () => {
  await server.script({ latencyMs: 100 });

  await Promise.all(Array.from({ length: 12 }, (_, n) => call(`many-${n}`)));

  expect((await server.stats()).inFlightMax).toBe(12);
});
