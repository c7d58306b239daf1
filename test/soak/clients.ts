import { hash } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { hasEnded, Wire, type WireBatch } from '../e2e/wire.ts';
import type { SoakService } from './service.ts';

const SETTLE_MS = 120_000;
/** The disturbances may fail some lines for good, but not more than this share. */
const LOST_TO_ERRORS_MAX = 0.01;

/** Clients that upload, create, cancel, list and download, and check every line of what they get. */
export class Clients {
  readonly #service: SoakService;
  readonly #wire = new Wire((path, init) => this.#send(path, init));
  readonly #seed: number;
  /** Broken promises, without repetitions. */
  readonly broken = new Set<string>();
  readonly #waiting = new Set<Promise<void>>();
  readonly count = { requests: 0, lines: 0, cancelled: 0, faulty: 0, errorLines: 0, serverErrors: 0 };
  /** Batches that ended and were checked. */
  ended = 0;

  constructor(service: SoakService, { seed }: { readonly seed: number }) {
    this.#service = service;
    this.#seed = seed;
  }

  async run(client: number, untilMs: number): Promise<void> {
    const random = lehmer(this.#seed * 1_000 + client + 1);
    for (let round = 0; performance.now() < untilMs && !this.#service.hasEnded; round += 1) {
      const job = this.#job(`c${client}-${round}`, random).catch((error: unknown) => {
        if (!this.#service.hasEnded) this.broken.add(`client ${client}: ${String(error)}`);
      });
      this.#waiting.add(job);
      await job;
      this.#waiting.delete(job);
    }
  }

  async settle(): Promise<void> {
    await Promise.all(this.#waiting);
  }

  summary(): string {
    const { requests, lines: sent, cancelled, faulty, serverErrors } = this.count;
    return (
      `${this.ended} batches (${cancelled} cancelled, ${faulty} faulty), ${sent} lines, ${requests} requests, ` +
      `${serverErrors} × 5xx, ${this.broken.size} promises broken`
    );
  }

  /** Promises that hold only over the whole run. */
  verdict(): readonly string[] {
    const { errorLines, lines: sent } = this.count;
    if (errorLines > sent * LOST_TO_ERRORS_MAX)
      this.broken.add(`${errorLines} of ${sent} lines are in error files, without having been cancelled`);
    return [...this.broken];
  }

  async #job(name: string, random: () => number): Promise<void> {
    const size = random() < 0.1 ? 500 + Math.floor(random() * 1_500) : 1 + Math.floor(random() * 100);
    const isFaulty = random() < 0.05;
    const isCancelled = !isFaulty && random() < 0.1;
    const wanted = new Map<string, string>();
    const rows: string[] = [];
    for (let line = 0; line < size; line += 1) {
      const body = { model: 'soak', messages: [{ role: 'user', content: `${name} ${line} 다람쥐` }] };
      const id = `${name}-${line}`;
      wanted.set(id, hash('sha256', JSON.stringify(body)));
      rows.push(`${JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body })}\n`);
    }
    if (isFaulty) rows.push(rows[0] ?? '', '{not json\n');
    const fileId = await this.#wire.upload(rows.join(''));
    const { id } = await this.#wire.create(fileId, { 'idempotency-key': name });
    if (isCancelled) {
      await wait(random() * 300);
      // It may have ended meanwhile, which is a 400.
      await this.#send(`/batches/${id}/cancel`, { method: 'POST' });
    }
    const batch = await this.#wire.untilEnded(id, SETTLE_MS);
    if (!hasEnded(batch)) {
      this.broken.add(`${id} did not end within two minutes: ${JSON.stringify(batch)}`);
      return;
    }
    if (isFaulty) this.#expect(batch.status === 'failed', `${batch.id} with faults is ${batch.status}`);
    else await this.#check(batch, wanted);
    this.count.lines += isFaulty ? 0 : size;
    this.count.faulty += isFaulty ? 1 : 0;
    this.count.cancelled += batch.status === 'cancelled' ? 1 : 0;
    this.ended += 1;
    if (random() < 0.3) await this.#wire.ask('/batches?limit=20');
    if (random() < 0.5) await this.#wire.ask(`/files/${fileId}`, { method: 'DELETE' });
  }

  /** Checks that each custom_id has exactly one result, each answer is that of its line, and the counts agree. */
  async #check(batch: WireBatch, wanted: ReadonlyMap<string, string>): Promise<void> {
    this.#expect(batch.status !== 'failed', `${batch.id} failed: ${JSON.stringify(batch)}`);
    // A batch that is cancelled before it has begun has no results.
    if (batch.status === 'cancelled' && batch.request_counts.total === 0) return;
    const output = await this.#wire.results(batch.output_file_id);
    const errors = await this.#wire.results(batch.error_file_id);
    const seen = new Set([...output, ...errors].map((line) => line.custom_id));
    const { total, completed, failed } = batch.request_counts;
    const isWhole = output.length + errors.length === wanted.size && seen.size === wanted.size;
    this.#expect(
      isWhole && [...wanted.keys()].every((id) => seen.has(id)),
      `${batch.id}: ${output.length} + ${errors.length} results, ${seen.size} ids for ${wanted.size} lines`,
    );
    this.#expect(
      total === completed + failed && completed === output.length && failed === errors.length,
      `${batch.id}: counts ${JSON.stringify(batch.request_counts)} for ${output.length} + ${errors.length} lines`,
    );
    for (const { custom_id: id, response } of output) {
      const content = response?.body.choices[0].message.content ?? '';
      this.#expect(content.includes(wanted.get(id) ?? '?'), `${batch.id}: ${id} has another line's answer`);
    }
    this.count.errorLines += errors.filter(({ error }) => error?.code !== 'batch_cancelled').length;
  }

  async #send(path: string, init?: RequestInit): Promise<Response> {
    const response = await this.#service.fetch(path, init);
    this.count.requests += 1;
    if (response.status >= 500) {
      this.count.serverErrors += 1;
      this.broken.add(
        `${init?.method ?? 'GET'} ${path.replaceAll(/[0-9a-f-]{20,}/g, '…')} answers ${response.status}`,
      );
    }
    return response;
  }

  #expect(holds: boolean, what: string): void {
    if (!holds) this.broken.add(what);
  }
}

/** Random numbers that are the same for the same seed. */
function lehmer(seed: number): () => number {
  let state = (seed % 2_147_483_646) + 1;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}
