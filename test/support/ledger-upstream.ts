import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** What the ledger keeps of one request that reached the model server. */
export interface LedgerEntry {
  /** Its `idempotency-key`; empty without one. */
  readonly key: string;
  readonly path: string;
  /** Lower-case hex, of the body as received. The answer's content is `sha256:` and this. */
  readonly sha256: string;
  /** Wall clock, milliseconds. */
  readonly receivedAtMs: number;
  /** Requests in flight when it came, itself included. */
  readonly inFlight: number;
  /** The status answered, or why there was no answer; `pending` while it is open. */
  outcome: number | 'pending' | 'hang' | 'reset' | 'dropped' | 'gone';
}

export interface LedgerStats {
  readonly requests: number;
  readonly distinctKeys: number;
  readonly inFlight: number;
  readonly inFlightMax: number;
}

interface Ledger extends LedgerStats {
  readonly entries: readonly LedgerEntry[];
}

/** How the server behaves from now on; what is left out stays as it was. Chances are 0 to 1, drawn from the seed. */
export interface LedgerScript {
  latencyMs?: number;
  /** Added to the latency: from zero to this, evenly spread. */
  jitterMs?: number;
  /** Status → chance: `{ 429: 0.1, 500: 0.01 }`. */
  statusChances?: Record<number, number>;
  /** With every 429 and 503: `retry-after-ms`, and `retry-after` in whole seconds. */
  retryAfterMs?: number;
  /** Never answers. */
  hangChance?: number;
  /** Processes the request (it is in the ledger, the latency passes), then cuts the connection instead of answering. */
  resetChance?: number;
  /** Cuts the connection at once. */
  dropChance?: number;
  /** Requests whose body holds the text always end so. */
  poison?: { contains: string; outcome: number | 'hang' | 'reset' | 'dropped' } | null;
  /** True: every connection is cut, and new ones are refused, until false. */
  down?: boolean;
}

export interface LedgerUpstreamOptions {
  readonly script?: LedgerScript;
  readonly seed?: number;
  /** Each request's entry is appended here as a JSON line before it is answered. */
  readonly file?: string;
  /** Length of an answer. Default 1,200. */
  readonly answerBytes?: number;
}

export interface LedgerUpstream {
  /** The base URL of the API: `http://127.0.0.1:<port>/v1`. */
  readonly url: string;
  readonly pid: number;
  ledger(): Promise<Ledger>;
  stats(): Promise<LedgerStats>;
  /** Resolves when that many requests have come. */
  untilRequests(count: number): Promise<void>;
  script(change: LedgerScript): Promise<void>;
  stop(): Promise<void>;
}

const POLL_MS = 10;

/** Starts a model server in a process of its own that remembers every request it got. */
export async function startLedgerUpstream(options: LedgerUpstreamOptions = {}): Promise<LedgerUpstream> {
  const main = fileURLToPath(new URL('./ledger-upstream-main.ts', import.meta.url));
  const child = spawn(process.execPath, [main, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const line = await Promise.race([once(child.stdout, 'data'), exited]);
  if (child.exitCode !== null || child.pid === undefined)
    throw new Error('the ledger upstream did not start');
  const { url, controlUrl } = JSON.parse(String(line[0])) as { url: string; controlUrl: string };
  const control = async (path: string, init?: RequestInit): Promise<Response> => {
    const response = await fetch(controlUrl + path, init);
    if (!response.ok)
      throw new Error(`the ledger upstream answered ${response.status}: ${await response.text()}`);
    return response;
  };

  const stats = async () => (await (await control('/stats')).json()) as LedgerStats;

  return {
    url,
    pid: child.pid,
    ledger: async () => (await (await control('/ledger')).json()) as Ledger,
    stats,
    async untilRequests(count) {
      while ((await stats()).requests < count) await setTimeout(POLL_MS);
    },
    script: async (change) =>
      void (await control('/script', { method: 'POST', body: JSON.stringify(change) })),
    stop: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
