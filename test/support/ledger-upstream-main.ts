import { hash } from 'node:crypto';
import { once } from 'node:events';
import { openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { LedgerEntry, LedgerScript, LedgerStats, LedgerUpstreamOptions } from './ledger-upstream.ts';

// Run by `startLedgerUpstream`: a model server on one port, its control on another, which stays up while it is `down`.
const options = JSON.parse(process.argv[2] ?? '{}') as LedgerUpstreamOptions;
const script: LedgerScript = { ...options.script };
const fd = options.file === undefined ? null : openSync(options.file, 'a');
const random = mulberry32(options.seed ?? 1);
const entries: LedgerEntry[] = [];
const keys = new Set<string>();
let inFlight = 0;
let inFlightMax = 0;
const [answerHead, answerTail] = answerAround(options.answerBytes ?? 1_200);

const model = createServer({ keepAliveTimeout: 60_000 }, receive);
const control = createServer(receiveControl);
await listen(model, 0);
await listen(control, 0);
const modelPort = (model.address() as AddressInfo).port;
if (script.down) await goDown();
console.log(
  JSON.stringify({
    url: `http://127.0.0.1:${modelPort}/v1`,
    controlUrl: `http://127.0.0.1:${(control.address() as AddressInfo).port}`,
  }),
);
// The parent holds our stdout; when it dies, so do we.
process.stdout.on('error', () => process.exit());
const parent = process.ppid;
setInterval(() => process.ppid === parent || process.exit(), 1_000).unref();

function receive(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    if (request.method === 'GET') return send(response, 200, MODELS);
    handle(request, response, chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
  });
}

const MODELS = JSON.stringify({
  object: 'list',
  data: [{ id: 'ledger', object: 'model', created: 0, owned_by: 'test' }],
});

function handle(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  inFlight += 1;
  inFlightMax = Math.max(inFlightMax, inFlight);
  const entry: LedgerEntry = {
    key: String(request.headers['idempotency-key'] ?? ''),
    path: request.url ?? '',
    sha256: hash('sha256', body),
    receivedAtMs: Date.now(),
    inFlight,
    outcome: 'pending',
  };
  entries.push(entry);
  keys.add(entry.key);
  if (fd !== null) writeSync(fd, `${JSON.stringify(entry)}\n`);
  response.on('close', () => {
    inFlight -= 1;
    if (entry.outcome === 'pending') entry.outcome = 'gone';
  });
  const outcome = drawOutcome(body);
  const delayMs = outcome === 'dropped' ? 0 : (script.latencyMs ?? 0) + random() * (script.jitterMs ?? 0);
  if (delayMs > 0) setTimeout(finish, delayMs, response, entry, outcome);
  else finish(response, entry, outcome);
}

type Outcome = Exclude<LedgerEntry['outcome'], 'pending' | 'gone'>;

function drawOutcome(body: Buffer): Outcome {
  if (script.poison && body.includes(script.poison.contains)) return script.poison.outcome;
  if (chance(script.dropChance)) return 'dropped';
  if (chance(script.hangChance)) return 'hang';
  if (chance(script.resetChance)) return 'reset';
  for (const [status, rate] of Object.entries(script.statusChances ?? {}))
    if (chance(rate)) return Number(status);
  return 200;
}

const chance = (rate: number | undefined): boolean => rate !== undefined && rate > 0 && random() < rate;

function finish(response: ServerResponse, entry: LedgerEntry, outcome: Outcome): void {
  if (response.destroyed) return;
  entry.outcome = outcome;
  if (outcome === 'hang') return;
  if (typeof outcome === 'string') return void response.socket?.resetAndDestroy();
  if (outcome === 200) return send(response, 200, answerHead + entry.sha256 + answerTail);
  if ((outcome === 429 || outcome === 503) && script.retryAfterMs !== undefined) {
    response.setHeader('retry-after-ms', script.retryAfterMs);
    response.setHeader('retry-after', Math.ceil(script.retryAfterMs / 1000));
  }
  send(
    response,
    outcome,
    JSON.stringify({ error: { code: String(outcome), message: `As the script says: ${outcome}.` } }),
  );
}

function send(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}

function receiveControl(request: IncomingMessage, response: ServerResponse): void {
  let body = '';
  request.on('data', (chunk: Buffer) => (body += chunk.toString()));
  request.on('end', () => {
    if (request.url === '/ledger') return send(response, 200, JSON.stringify({ ...stats(), entries }));
    if (request.url === '/stats') return send(response, 200, JSON.stringify(stats()));
    if (request.url !== '/script') return send(response, 404, '{}');
    follow(JSON.parse(body) as LedgerScript).then(
      () => send(response, 200, '{}'),
      (error: unknown) => send(response, 500, String(error)),
    );
  });
}

async function follow(change: LedgerScript): Promise<void> {
  Object.assign(script, change);
  if (change.down === true && model.listening) await goDown();
  if (change.down === false && !model.listening) await listen(model, modelPort);
}

const stats = (): LedgerStats => ({
  requests: entries.length,
  distinctKeys: keys.size,
  inFlight,
  inFlightMax,
});

async function goDown(): Promise<void> {
  const closed = once(model, 'close');
  model.close();
  model.closeAllConnections();
  await closed;
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
}

function answerAround(bytes: number): [string, string] {
  const around = (padding: string): [string, string] => [
    '{"id":"chatcmpl-ledger","object":"chat.completion","created":1700000000,"model":"ledger","choices":[{"index":0,' +
      '"finish_reason":"stop","logprobs":null,"message":{"role":"assistant","content":"sha256:',
    `","refusal":null}}],"usage":{"prompt_tokens":20,"completion_tokens":30,"total_tokens":50},"padding":"${padding}"}`,
  ];
  const [head, tail] = around('');
  return around('x'.repeat(Math.max(0, bytes - head.length - 64 - tail.length)));
}

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
