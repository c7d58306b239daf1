import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const KEY = 'bench-key';
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** The real service in its own process, asked over HTTP as a client would. */
export interface Server {
  readonly pid: number;
  upload(content: Buffer): Promise<string>;
  /** Creates a batch and waits for its end. `totalMs` is the time from the create to the end, as the client sees it. */
  runBatch(fileId: string): Promise<{ readonly totalMs: number; readonly completed: number }>;
  peakMiB(): Promise<number>;
  stop(): Promise<void>;
}

export async function startServer(options: {
  /** One base URL or several. */
  readonly upstream: string | readonly string[];
  readonly concurrency: number;
  /** The model's name at the upstream. */
  readonly model?: string;
}): Promise<Server> {
  const dataDir = await mkdtemp(join(tmpdir(), 'offpeak-bench-'));
  const config = join(dataDir, 'offpeak.yaml');
  const upstreams = [options.upstream].flat().map((url, index) => ({ name: `upstream-${index + 1}`, url }));
  await writeFile(config, JSON.stringify({ upstreams }));
  const flags = {
    port: '0',
    config,
    'data-dir': join(dataDir, 'data'),
    'api-key': KEY,
    'log-level': 'error',
    deployment: `bench=${options.model ?? 'bench'}`,
    concurrency: String(options.concurrency),
  };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
  const child = spawn(here('../bin/offpeak'), ['serve', '--json', ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const url = await announcedUrl(child);
  const ask = async (path: string, init: RequestInit = {}): Promise<Record<string, unknown>> => {
    const response = await fetch(`${url}/v1${path}`, {
      ...init,
      headers: [...new Headers(init.headers), ['api-key', KEY]],
    });
    if (!response.ok) throw new Error(`${path} answers ${response.status}: ${await response.text()}`);
    return (await response.json()) as Record<string, unknown>;
  };

  return {
    pid: child.pid ?? 0,
    async upload(content) {
      const form = new FormData();
      form.set('purpose', 'batch');
      form.set('file', new Blob([new Uint8Array(content)]), 'bench.jsonl');
      return String((await ask('/files', { method: 'POST', body: form }))['id']);
    },
    async runBatch(fileId) {
      const beganAt = performance.now();
      let batch = await ask('/batches', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          input_file_id: fileId,
          endpoint: '/v1/chat/completions',
          completion_window: '24h',
        }),
      });
      while (batch['status'] !== 'completed') {
        if (batch['status'] === 'failed') throw new Error(JSON.stringify(batch['errors']));
        await new Promise((resolve) => setTimeout(resolve, 25));
        batch = await ask(`/batches/${String(batch['id'])}`);
      }
      const counts = batch['request_counts'] as { completed: number };
      return { totalMs: performance.now() - beganAt, completed: counts.completed };
    },
    async peakMiB() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
      return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
    },
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function announcedUrl(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk);
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0];
    if (url !== undefined) {
      child.stdout?.resume();
      return url;
    }
  }
  throw new Error(`the service ended before it listened: ${text}`);
}

/** Starts the instant model server in a process of its own. */
export async function startUpstream(): Promise<{
  readonly port: number;
  readonly url: string;
  stop(): void;
}> {
  const child = fork(here('./instant-upstream.ts'));
  const [port] = (await once(child, 'message')) as [number];
  return { port, url: `http://127.0.0.1:${port}/v1`, stop: () => void child.kill() };
}

/** Returns the milliseconds that the bare dispatch loop takes, in a process of its own. */
export async function dispatchLoopMs(options: {
  readonly port: number;
  readonly concurrency: number;
  readonly requests: number;
  readonly bodyBytes: number;
}): Promise<number> {
  const { port, concurrency, requests, bodyBytes } = options;
  const child = spawn(
    process.execPath,
    [here('./dispatch-loop.ts'), ...[port, concurrency, requests, bodyBytes].map(String)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  for await (const chunk of child.stdout) text += String(chunk);
  return Number(text);
}

/** Makes a file of `lines` requests of about `lineBytes` each. */
export function requestFile(lines: number, lineBytes: number): Buffer {
  const words = 'The quick brown fox jumps over the lazy dog. 다람쥐 헌 쳇바퀴에 타고파. ';
  const filler = words.repeat(Math.ceil(lineBytes / Buffer.byteLength(words)));
  const content = Buffer.from(filler)
    .subarray(0, Math.max(0, lineBytes - 150))
    .toString()
    .replaceAll('\uFFFD', '');
  const parts = Array.from(
    { length: lines },
    (_, index) =>
      `{"custom_id":"request-${index}","method":"POST","url":"/v1/chat/completions","body":{"model":"bench","messages":[{"role":"user","content":"${content}"}]}}\n`,
  );
  return Buffer.from(parts.join(''));
}
