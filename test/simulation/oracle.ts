import { isDeepStrictEqual } from 'node:util';
import { isAccepted } from '../../src/serving/classify.ts';
import { isTerminal, TRANSITIONS } from '../../src/contract/batch.ts';
import type { Batch, BatchStatus } from '../../src/contract/batch.ts';
import type { AuditAction } from '../../src/contract/control.ts';
import type { ApiError } from '../../src/contract/error.ts';
import type { FileRow } from '../../src/contract/file.ts';
import { BlobStoreError } from '../../src/stores/blobs/port.ts';
import { StoreError } from '../../src/stores/state/ports.ts';
import { serverOf, type Job, type JobLine } from './plan.ts';
import type { Life } from './scheduler.ts';
import type { Call, Outage } from './sim-upstream.ts';
import { BLOB_DIR, blobPath } from './blob-path.ts';
import { Blame, type Trial } from './blame.ts';
import { Ending } from './ending.ts';
import { Idleness, type Sending } from './idleness.ts';
import { Fence } from './fence.ts';
import { WaitingRoom } from './waiting-room.ts';
import { Pace } from './pace.ts';
import type { World } from './world.ts';

/** A promise was broken. */
export class Violation extends Error {
  override name = 'Violation';
}

interface Known {
  batch: Batch;
  /** Virtual time at which the batch was first seen in its status. */
  readonly seenAtMs: Map<BatchStatus, number>;
  results: number;
}

interface Death {
  readonly life: Life;
  readonly atMs: number;
  /** Idempotency keys of requests that may have been processed and are not recorded. */
  readonly inDoubt: ReadonlySet<string>;
}

const MAX_ROWS = { afterLine: 0, bytesMax: 1e9, rowsMax: 1e6 };
const STORE_RETRY_MS = 15_000;
const CANCEL_QUIET_MS = 2_000;
const CANCEL_END_MS = 10 * 60_000;
const KILLS_MAX = 6;
/** How long a batch may be under way before the check asks why none of its lines is accepted. */
const HOPE_MS = 10 * 60_000;
const DOWN_SETTLING_MS = 3 * 60_000;

/** Watches a history: what must hold after every step, and what must be true in the end. */
export class Oracle {
  readonly #world: World;
  readonly fence = new Fence((condition, promise, what) => this.require(condition, promise, what));
  readonly waitingRoom: WaitingRoom;
  readonly #known = new Map<number, Known>();
  /** By file id: what was acknowledged or published. */
  readonly #promised = new Map<string, Buffer>();
  /** Of produced files, by their ids. */
  readonly #blobIds = new Map<string, string>();
  readonly #deletes = new Map<string, number>();
  readonly #acceptedAtMs = new Map<string, number>();
  readonly #cancels = new Map<string, { askedAtMs: number; answeredAtMs: number | null }>();
  readonly #inFlight = new Map<Life, Map<string, number>>();
  readonly #pace = new Pace();
  readonly #blame: Blame;
  readonly #idleness: Idleness;
  readonly #answered = new Map<Life, Set<string>>();
  readonly #lineOfKey = new Map<string, string>();
  readonly #keyOfLine = new Map<string, string>();
  readonly #recorded = new Set<string>();
  readonly #deathQueue: Life[] = [];
  readonly #deaths: Death[] = [];
  readonly #endedAtMs = new Map<Life, number>();
  readonly #stops = new Set<Life>();
  readonly #stopLost: string[] = [];
  #resentAtStop: number | null = null;
  #maxSeq = 0;
  #dirty = true;
  #error: Violation | null = null;

  constructor(world: World) {
    this.#world = world;
    this.#idleness = new Idleness(world.plan);
    this.#blame = new Blame({
      retriesMax: world.plan.tuning.retriesMax,
      servers: world.servers,
      calls: () => this.#calls(),
      require: (condition, promise, what) => this.require(condition, promise, what),
    });
    this.waitingRoom = new WaitingRoom(
      world.plan,
      () => Array.from(this.#known.values(), ({ batch }) => batch),
      (condition, promise, what) => this.require(condition, promise, what),
    );
  }

  get failedLines(): number {
    return [...this.#known.values()].reduce((sum, { batch }) => sum + batch.counts.failed, 0);
  }

  get batches(): number {
    return this.#known.size;
  }

  require(condition: unknown, promise: string, what: string): void {
    // Thrown from the step, not from inside the engine, which might catch it.
    if (!condition) this.#error ??= new Violation(`${promise}: ${what}`);
  }

  // ------------------------------------------------------------------ what clients saw

  uploaded(row: FileRow, bytes: Buffer): void {
    this.#promised.set(row.id, bytes);
    this.require(row.bytes === bytes.length, 'P1', `upload ${row.id} was acknowledged with another size`);
  }

  deleting(fileId: string): void {
    if (!this.#deletes.has(fileId)) this.#deletes.set(fileId, this.#world.scheduler.nowMs);
  }

  accepted(job: Job, batch: Batch): void {
    this.#acceptedAtMs.set(batch.id, this.#world.scheduler.nowMs);
    this.require(batch.metadata?.['job'] === job.name, 'P23', `the batch of ${job.name} is another one`);
    this.require(
      job.hasBadLine || batch.errors === null || batch.status === 'failed',
      'P4',
      `${batch.id} has errors`,
    );
  }

  refused(job: Job, fileId: string, error: ApiError): void {
    const isFull = error.code === 'tokenLimitExceeded' && this.#world.mayLackRoom(job, error.message);
    const allowed = isFull || this.#deletes.has(fileId);
    this.require(allowed, 'P23', `a create was refused: ${error.code}: ${error.message}`);
  }

  cancelling(batchId: string): void {
    if (!this.#cancels.has(batchId))
      this.#cancels.set(batchId, { askedAtMs: this.#world.scheduler.nowMs, answeredAtMs: null });
  }

  cancelled(batchId: string, batch: Batch | undefined): void {
    this.require(batch, 'P3', `the accepted batch ${batchId} is unknown to cancel`);
    const cancel = this.#cancels.get(batchId);
    if (cancel) cancel.answeredAtMs = this.#world.scheduler.nowMs;
  }

  // ------------------------------------------------------------------ what upstreams saw

  called(call: Call): void {
    const { scheduler, plan, zombieLives } = this.#world;
    const deployment = plan.deployments.find(({ upstreams }) => upstreams.includes(call.upstream))!;
    const inFlight = bump(this.#inFlight, call.life, deployment.name, 1);
    const servings = this.#world.changes.known(call.life, deployment.name, scheduler.nowMs);
    const inFlightMax = Math.max(0, ...servings.map((serving) => serving?.concurrencyMax ?? 0));
    this.require(inFlight <= inFlightMax, 'P17', `${inFlight} requests in flight, ${inFlightMax} allowed`);
    this.require(
      servings.some((serving) => serving?.upstreams.includes(call.upstream)),
      'routing',
      `${call.upstream} was called when it did not serve ${deployment.name}`,
    );
    const notBeforeMs = this.#pace.notBeforeMs(call);
    this.require(
      scheduler.nowMs >= notBeforeMs,
      'P14',
      `${call.upstream} was called ${notBeforeMs - scheduler.nowMs} ms before its Retry-After`,
    );
    this.#checkIdleness(call, notBeforeMs);
    const line = this.#lineOf(call);
    this.require(
      line,
      'P20',
      `${call.upstream} was called with a body that nobody submitted: ${call.body.toString()}`,
    );
    this.require(call.body.toString() === line?.body, 'P20', `the body of ${call.line} was changed`);
    this.require(
      call.model === `"${deployment.name}"`,
      'P20',
      `the model of ${call.line} is not at its place`,
    );
    this.#checkKey(call);
    const isZombie = zombieLives.has(call.life);
    this.require(
      isZombie || !this.#answered.get(call.life)?.has(call.key),
      'P4',
      `${call.key} was called again after its answer`,
    );
    this.require(
      isZombie || !this.#recorded.has(call.key),
      'P4',
      `${call.key} was called again after its result was durable`,
    );
    this.require(
      isZombie || this.#world.hasDiskSpace(),
      'P10',
      `${call.key} was called while the disk was full`,
    );
    const cancel = this.#cancels.get(batchOf(call.key));
    if (cancel?.answeredAtMs != null && !isZombie) {
      const lateMs = scheduler.nowMs - cancel.answeredAtMs;
      this.require(
        lateMs <= CANCEL_QUIET_MS || this.isDisturbed(cancel.answeredAtMs, scheduler.nowMs),
        'P19',
        `${call.key} was called ${lateMs} ms after its batch was cancelled`,
      );
    }
  }

  #checkIdleness(call: Call, notBeforeMs: number): void {
    const { plan, scheduler, servers } = this.#world;
    const held = this.#idleness.called(
      call,
      { nowMs: scheduler.nowMs, notBeforeMs },
      { server: servers.get(call.server)!, sending: (atMs) => this.#sending(atMs) },
    );
    const isQuiet = plan.isExact && plan.faults.length === 0;
    this.require(
      held === null || !isQuiet,
      'P32',
      `${call.server} was idle for ${held?.idleMs} ms while ${held?.batchId} had lines to be sent`,
    );
  }

  #sending(atMs: number): Sending[] {
    const isSent = ({ seenAtMs, batch }: Known) =>
      (seenAtMs.get('in_progress') ?? Infinity) <= atMs &&
      batch.status === 'in_progress' &&
      !this.#cancels.has(batch.id);
    return [...this.#known.values()].filter(isSent).flatMap(({ batch }) => {
      const job = this.#world.jobOfFile.get(batch.inputFileId);
      if (job === undefined) return [];
      const calls = this.#calls().filter(({ key, startMs }) => batchOf(key) === batch.id && startMs <= atMs);
      const isProven = calls.some(({ reply }) => reply !== null && isAccepted(reply));
      const sent = new Set(calls.map(({ line }) => line));
      const hasFresh = job.lines.some(({ name }) => !sent.has(name));
      return [{ batchId: batch.id, job, isProven, hasFresh }];
    });
  }

  /** P5: the key of a line is the same over all attempts and processes, and no other line has it. */
  #checkKey({ key, line }: Call): void {
    const owner = this.#lineOfKey.get(key) ?? line;
    this.#lineOfKey.set(key, owner);
    this.require(owner === line, 'P5', `${key} was sent for ${owner} and for ${line}`);
    const nameInBatch = `${batchOf(key)}/${line}`;
    const known = this.#keyOfLine.get(nameInBatch) ?? key;
    this.#keyOfLine.set(nameInBatch, known);
    this.require(known === key, 'P5', `${line} was sent with the keys ${known} and ${key}`);
  }

  ended(call: Call): void {
    const { plan, scheduler } = this.#world;
    const deployment = plan.deployments.find(({ upstreams }) => upstreams.includes(call.upstream))!;
    bump(this.#inFlight, call.life, deployment.name, -1);
    const { reply } = call;
    if (reply !== null) this.#pace.ended(call, reply, scheduler.nowMs);
    this.#idleness.ended(call, scheduler.nowMs);
    if (reply?.kind !== 'answer') return;
    // A rejection may yet turn out to be about the set-up, and is sent again then.
    if (!isAccepted(reply)) return;
    const answered = this.#answered.get(call.life) ?? new Set();
    this.#answered.set(call.life, answered.add(call.key));
  }

  // ------------------------------------------------------------------ what processes did

  /** Only a fault of the disk or the database may end a process. Anything else is a bug that a restart would hide. */
  gaveUp(error: unknown): void {
    const isStore = error instanceof StoreError || error instanceof BlobStoreError;
    // Beside a zombie that still records results, a process may find that the store is not as it left it.
    if ([...this.#world.zombieLives].some((zombie) => zombie.alive)) return;
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.require(isStore, 'P9', `a process gave up: ${what}`);
  }

  died(life: Life): void {
    this.#deathQueue.push(life);
    if (!this.#stops.has(life)) this.#resentAtStop = null;
    this.#endedAtMs.set(life, this.#world.scheduler.nowMs);
  }

  /** P15: a line that ends the process is found out after three times with others, two alone, and one more at most. */
  killed(times: number): void {
    this.require(times <= KILLS_MAX, 'P15', `one line has ended ${times} processes`);
  }

  /** P12: a drain that ran to its end leaves nothing in doubt. */
  stopped(life: Life, sinceMs: number): void {
    this.#stops.add(life);
    const calls = this.#callsOf(life);
    const cut = calls.some(
      ({ reply, endMs }) =>
        reply?.kind === 'failure' && reply.reason === 'aborted' && endMs !== null && endMs >= sinceMs,
    );
    if (cut) return;
    const open = calls.filter(({ reply }) => reply === null);
    this.require(open.length === 0, 'P12', `${open.length} requests were left in flight by a stop`);
    this.#stopLost.push(...(this.#answered.get(life) ?? []));
    // The next start takes back, and counts, what a zombie claimed and what was claimed with an answer that was lost.
    const others = this.#world.plan.faults.some(({ kind }) => kind === 'zombie' || kind === 'lost_answer');
    this.#resentAtStop = others ? null : this.#resent();
  }

  /** A process is ready: it has taken back what the one before it held. */
  started(): void {
    if (this.#resentAtStop === null) return;
    const more = this.#resent() - this.#resentAtStop;
    this.#resentAtStop = null;
    this.require(more === 0, 'P12', `${more} requests count as sent again after a stop that ran to its end`);
  }

  #resent(): number {
    return [...this.#known.values()].reduce((sum, { batch }) => sum + batch.resent, 0);
  }

  wrote(): void {
    this.#dirty = true;
  }

  // ------------------------------------------------------------------ after every step

  async afterStep(): Promise<void> {
    this.#raise();
    if (this.#dirty) {
      this.#dirty = false;
      await this.#look();
    }
    for (const life of this.#deathQueue.splice(0)) this.#autopsy(life);
    for (const key of this.#stopLost.splice(0)) {
      const lost = !this.#recorded.has(key) && this.#isLive(key);
      this.require(!lost, 'P12', `${key} was answered before the stop ended, but is not recorded`);
    }
    this.#raise();
  }

  #raise(): void {
    if (this.#error) throw this.#error;
  }

  async #look(): Promise<void> {
    const { observer, plan } = this.#world;
    for (let seq = 1; ; seq++) {
      const batch = await observer.batches.bySeq(seq);
      if (!batch && seq > this.#maxSeq) break;
      if (!batch) {
        this.require(false, 'P3', `batch ${seq} is gone`);
        continue;
      }
      this.#maxSeq = Math.max(this.#maxSeq, seq);
      const before = this.#known.get(seq);
      this.#compare(before?.batch, batch);
      const known = before ?? { batch, seenAtMs: new Map(), results: 0 };
      known.batch = batch;
      this.#known.set(seq, known);
      if (!known.seenAtMs.has(batch.status)) {
        known.seenAtMs.set(batch.status, this.#world.scheduler.nowMs);
        this.#world.note(`${batch.id} is ${batch.status}`);
        if (isTerminal(batch.status)) await this.#published(known);
      }
      if (isTerminal(batch.status)) continue;
      await this.#countResults(known);
    }
    this.waitingRoom.check();
    const { nowMs } = this.#world.scheduler;
    const nowS = Math.floor(this.#world.wallMs / 1000);
    this.waitingRoom.checkPrompt({ nowMs, nowS }, (fromMs, toMs) => this.#isUnsettled(fromMs, toMs));
    for (const resourceId of new Set(plan.deployments.map((deployment) => deployment.resourceId))) {
      const expected = this.waitingRoom.sums(resourceId);
      const stored = await observer.batches.enqueuedTokens({ resourceId, actor: 'oracle' });
      this.require(
        isDeepStrictEqual(stored, expected),
        'P21',
        `${resourceId} has ${describe(expected)}, the store says ${describe(stored)}`,
      );
    }
  }

  /** P6. */
  #compare(before: Batch | undefined, now: Batch): void {
    const { total, completed, failed } = now.counts;
    this.require(
      completed + failed <= total || total === 0,
      'P6',
      `${now.id} counts ${completed} + ${failed} of ${total}`,
    );
    const times = [now.createdAt, now.inProgressAt, now.finalizingAt, now.completedAt].filter(
      (at) => at !== null,
    );
    const cancels = [now.createdAt, now.cancellingAt, now.cancelledAt].filter((at) => at !== null);
    this.require(
      isSorted(times) && isSorted(cancels),
      'P6',
      `the timestamps of ${now.id} go back: ${times.join()} ${cancels.join()}`,
    );
    if (!before) return;
    const moved = before.status === now.status || TRANSITIONS[before.status].includes(now.status);
    this.require(moved, 'P6', `${now.id} went from ${before.status} to ${now.status}`);
    this.require(
      before.counts.completed <= completed &&
        before.counts.failed <= failed &&
        (before.counts.total <= total || !isTerminal(now.status)),
      'P6',
      `the counts of ${now.id} went back`,
    );
    for (const at of [
      'createdAt',
      'inProgressAt',
      'finalizingAt',
      'completedAt',
      'failedAt',
      'expiredAt',
      'cancellingAt',
      'cancelledAt',
    ] as const) {
      this.require(before[at] === null || before[at] === now[at], 'P6', `${at} of ${now.id} changed`);
    }
    if (isTerminal(before.status)) {
      this.require(JSON.stringify(before) === JSON.stringify(now), 'P6', `${now.id} changed after its end`);
    }
  }

  async #countResults(known: Known): Promise<void> {
    const { observer } = this.#world;
    const { batch } = known;
    const rows = await observer.results.page(batch.seq, MAX_ROWS);
    const ok = rows.filter((row) => row.ok).length;
    this.require(
      ok === batch.counts.completed && rows.length - ok === batch.counts.failed,
      'P4',
      `${batch.id} counts ${batch.counts.completed} + ${batch.counts.failed}, but has ${ok} + ${rows.length - ok} results`,
    );
    for (const { line } of rows) this.#recorded.add(`${batch.id}-${line}`);
    known.results = rows.length;
  }

  /** What is visible is durable: the files of a batch that has just ended are on the platter (P11). */
  async #published({ batch }: Known): Promise<void> {
    if (batch.status === 'failed') return;
    const { observer, fs } = this.#world;
    const { completed, failed } = batch.counts;
    const isMade = (lines: number): boolean =>
      lines > 0 || (batch.dialect === 'azure' && completed + failed > 0);
    for (const [id, hasFile] of [
      [batch.outputFileId, isMade(completed)],
      [batch.errorFileId, isMade(failed)],
    ] as const) {
      const row = await observer.files.get({ resourceId: batch.resourceId, actor: 'oracle' }, id);
      this.require(
        (row !== undefined) === hasFile,
        'P11',
        `${batch.id} of ${batch.dialect} is ${batch.status}, ${completed} + ${failed}, ${row ? 'with' : 'without'} the file ${id}`,
      );
      if (!hasFile) continue;
      const bytes = fs.bytesAt(blobPath(BLOB_DIR, row?.blobId ?? id));
      this.require(
        row && bytes?.length === row.bytes,
        'P11',
        `${id} of ${batch.id} has ${bytes?.length} bytes where its row says ${row?.bytes}`,
      );
      if (bytes) this.#promised.set(id, bytes);
      if (row) this.#blobIds.set(id, row.blobId);
    }
  }

  /** P5: what one end of a process puts in doubt. */
  #autopsy(life: Life): void {
    const { plan, scheduler, zombieLives } = this.#world;
    const last = new Map<string, Call>();
    for (const call of this.#callsOf(life)) last.set(call.key, call);
    const inDoubt = new Set<string>();
    for (const [key, { reply }] of last) {
      const isAborted = reply?.kind === 'failure' && reply.reason === 'aborted';
      const maybe = reply === null || isAccepted(reply) || isAborted;
      if (maybe && !this.#recorded.has(key) && this.#isLive(key)) inDoubt.add(key);
    }
    this.#deaths.push({ life, atMs: scheduler.nowMs, inDoubt });
    if (zombieLives.has(life)) return;
    const windows = plan.deployments.reduce((sum, { concurrencyMax }) => sum + concurrencyMax, 0);
    const bound = windows + plan.tuning.commitGroupMax;
    this.require(
      inDoubt.size <= bound,
      'P5',
      `${inDoubt.size} requests in doubt when ${life.name} ended; ${bound} are promised`,
    );
  }

  #isLive(key: string): boolean {
    const known = [...this.#known.values()].find(({ batch }) => batch.id === batchOf(key));
    return known !== undefined && !isTerminal(known.batch.status) && known.batch.status !== 'cancelling';
  }

  #callsOf(life: Life): Call[] {
    return [...this.#world.upstreams.values()].flatMap(({ calls }) =>
      calls.filter((call) => call.life === life),
    );
  }

  #lineOf(call: Call): JobLine | undefined {
    for (const job of this.#world.plan.jobs) {
      const line = job.lines.find(({ name }) => name === call.line);
      if (line) return line;
    }
    return undefined;
  }

  // ------------------------------------------------------------------ in the end

  /** P1, P11: what was acknowledged or published is whole, also after a power cut. */
  checkFiles(): void {
    for (const [id, bytes] of this.#promised) {
      if (this.#deletes.has(id)) continue;
      const stored = this.#world.fs.bytesAt(blobPath(BLOB_DIR, this.#blobIds.get(id) ?? id));
      this.require(stored?.equals(bytes), 'P1', `the file ${id}, acknowledged or published, is not whole`);
    }
  }

  isQuiet(): boolean {
    return [...this.#known.values()].every(({ batch }) => isTerminal(batch.status));
  }

  /** Batches that may wait though nothing is wrong any more. */
  hopeless(): Batch[] {
    const beforeMs = this.#world.scheduler.nowMs - HOPE_MS;
    return [...this.#known.values()]
      .filter(({ seenAtMs }) => (seenAtMs.get('in_progress') ?? Number.POSITIVE_INFINITY) < beforeMs)
      .map(({ batch }) => batch)
      .filter(
        (batch) => batch.status === 'in_progress' && (batch.counts.completed === 0 || this.#mayWait(batch)),
      );
  }

  #mayWait(batch: Batch): boolean {
    const trial = this.#trialOf(batch);
    return trial !== null && this.#blame.mayWait(trial);
  }

  #trialOf({ id, inputFileId }: Batch): Trial | null {
    const job = this.#world.jobOfFile.get(inputFileId);
    if (job === undefined) return null;
    const calls = this.#calls().filter(({ key }) => batchOf(key) === id);
    return { batchId: id, job, calls };
  }

  stuck(): void {
    const left = [...this.#known.values()].filter(({ batch }) => !isTerminal(batch.status));
    const what = left
      .map(({ batch }) => `${batch.id} ${batch.status} ${JSON.stringify(batch.counts)}`)
      .join('; ');
    throw new Violation(`P3: stuck hours after the last fault: ${what || 'a client'}`);
  }

  /** Requests sent again after each end of a process. */
  resends(): number[] {
    return this.#deaths.map((death) => this.#resentAfter(death).size);
  }

  #resentAfter({ life, atMs, inDoubt }: Death): Set<string> {
    const again = this.#calls().filter(
      (call) => call.life !== life && call.startMs >= atMs && inDoubt.has(call.key),
    );
    return new Set(again.map(({ key }) => key));
  }

  #calls(): Call[] {
    return [...this.#world.upstreams.values()].flatMap((upstream) => upstream.calls);
  }

  async judge(): Promise<void> {
    this.#dirty = true;
    await this.afterStep();
    for (const id of this.#acceptedAtMs.keys()) {
      const exists = [...this.#known.values()].some(({ batch }) => batch.id === id);
      this.require(exists, 'P3', `the accepted batch ${id} is lost`);
    }
    this.checkFiles();
    this.#checkRepeats();
    const calls = this.#calls();
    const resent = this.#deaths.flatMap((death) => [...this.#resentAfter(death)]);
    for (const { batch, seenAtMs } of this.#known.values()) {
      const job = this.#world.jobOfFile.get(batch.inputFileId);
      this.require(job, 'P3', `${batch.id} is nobody's`);
      if (!job) continue;
      const deletedAtMs = this.#deletes.get(batch.inputFileId);
      const own = calls.filter(({ key }) => batchOf(key) === batch.id);
      const ending = new Ending({
        batch,
        job,
        world: this.#world,
        blobIdOf: (fileId) => this.#blobIds.get(fileId) ?? fileId,
        calls: own,
        wasCancelled: this.#cancels.has(batch.id),
        mayLackInput:
          deletedAtMs !== undefined && deletedAtMs <= (this.#acceptedAtMs.get(batch.id) ?? Infinity),
        // A stop is nobody's fault.
        crashes: this.#deaths.filter(({ life }) => !this.#stops.has(life)).length,
        mayPay: (line) => this.#blame.mayPay(line, { batchId: batch.id, job, calls: own }),
        require: (condition, promise, what) => this.require(condition, promise, what),
      });
      ending.check();
      this.#checkEnd({ batchId: batch.id, job, calls: own }, seenAtMs);
      const again = resent.filter((key) => batchOf(key) === batch.id).length;
      this.require(
        again <= batch.resent,
        'P5',
        `${again} requests of ${batch.id} were sent again, it says ${batch.resent}`,
      );
      this.#checkCancel(batch, seenAtMs);
    }
    this.#checkOutages(calls);
    const proven = [...this.#known.values()].filter(({ batch }) => batch.counts.completed > 0);
    const lines = proven.flatMap(({ batch }) => this.#world.jobOfFile.get(batch.inputFileId)?.lines ?? []);
    if (this.#world.plan.faults.length === 0) this.#blame.checkFalls(new Set(lines.map(({ name }) => name)));
    await this.#checkAudit();
    this.#raise();
  }

  /** P32, where nothing else went wrong. */
  #checkEnd(trial: Trial, seenAtMs: ReadonlyMap<BatchStatus, number>): void {
    const { plan, servers } = this.#world;
    const endMs = seenAtMs.get('completed');
    if (endMs === undefined || !plan.isExact || plan.faults.length > 0) return;
    const { upstreams } = plan.deployments.find(({ name }) => name === trial.job.deployment)!;
    const troubles = upstreams.flatMap((upstream) => {
      const { outages, deaths } = servers.get(serverOf(plan, upstream))!;
      return [...outages.filter(({ fromMs }) => fromMs < endMs), ...deaths];
    });
    this.#blame.checkEnd(trial, { endMs, troubleEndMs: Math.max(0, ...troubles.map(({ toMs }) => toMs)) });
  }

  /** P23: a caller that repeats its create with the same key gets the batch that it has. */
  #checkRepeats(): void {
    // Keys are kept for 24 h by the wall clock. A clock that jumps forward forgets them.
    const { faults } = this.#world.plan;
    if (faults.some((fault) => fault.kind === 'clock' && fault.byMs > 0)) return;
    for (const job of this.#world.plan.jobs) {
      if (!job.withIdempotencyKey) continue;
      const own = [...this.#known.values()].filter(({ batch }) => batch.metadata?.['job'] === job.name);
      this.require(own.length <= 1, 'P23', `${job.name} has ${own.length} batches with one Idempotency-Key`);
    }
  }

  /** What was cancelled, and a file that was deleted, is in the log once, however often it was asked for. */
  async #checkAudit(): Promise<void> {
    const log = await this.#world.observer.audit.list({ resourceId: null, limit: 1e6 });
    const times = (action: AuditAction, target: string) =>
      log.filter((entry) => entry.action === action && entry.target === target).length;
    for (const { batch } of this.#known.values()) {
      const [found, expected] = [times('batch.cancel', batch.id), batch.cancellingAt === null ? 0 : 1];
      this.require(found === expected, 'audit', `the cancel of ${batch.id} is in the log ${found} times`);
    }
    for (const { target } of log.filter(({ action }) => action === 'file.delete')) {
      const found = times('file.delete', target);
      this.require(
        found === 1 && this.#deletes.has(target),
        'audit',
        `the deletion of ${target} is in the log ${found} times`,
      );
    }
  }

  /** P19, where nothing else went wrong meanwhile. */
  #checkCancel(batch: Batch, seenAtMs: ReadonlyMap<BatchStatus, number>): void {
    const cancel = this.#cancels.get(batch.id);
    const endMs = seenAtMs.get('cancelled');
    if (cancel?.answeredAtMs == null || endMs === undefined) return;
    const { answeredAtMs } = cancel;
    const disturbed =
      this.isDisturbed(answeredAtMs, endMs) ||
      [...this.#endedAtMs.values()].some((atMs) => atMs >= answeredAtMs && atMs <= endMs);
    this.require(
      disturbed || endMs - answeredAtMs <= CANCEL_END_MS,
      'P19',
      `${batch.id} was cancelled only after ${endMs - answeredAtMs} ms`,
    );
  }

  /** The store was in trouble meanwhile, or the engine was still waiting to ask it again. */
  isDisturbed(fromMs: number, toMs: number): boolean {
    return this.#world.plan.faults.some(
      (fault) => 'fromMs' in fault && fault.fromMs <= toMs && fault.toMs + STORE_RETRY_MS >= fromMs,
    );
  }

  /** `isDisturbed`, or processes ended or deployments changed meanwhile, or no clock can be trusted. */
  #isUnsettled(fromMs: number, toMs: number): boolean {
    const { plan, front, zombieLives } = this.#world;
    return (
      front === null ||
      this.isDisturbed(fromMs, toMs) ||
      [...this.#endedAtMs.values()].some((atMs) => atMs >= fromMs && atMs <= toMs) ||
      [...zombieLives].some(({ alive }) => alive) ||
      plan.changes.some((change) => change.fromMs <= toMs && change.toMs >= fromMs) ||
      plan.faults.some(({ kind }) => kind === 'clock')
    );
  }

  #linesAt(server: string): number {
    const { plan } = this.#world;
    const served = plan.deployments.filter(({ upstreams }) =>
      upstreams.some((upstream) => serverOf(plan, upstream) === server),
    );
    const jobs = plan.jobs.filter((job) => served.some(({ name }) => name === job.deployment));
    return jobs.reduce((sum, { lines }) => sum + lines.length, 0);
  }

  /** P13: an upstream that is down is asked rarely. */
  #checkOutages(calls: readonly Call[]): void {
    for (const outage of this.#world.plan.outages) {
      const fromMs = outage.fromMs + DOWN_SETTLING_MS;
      if (outage.toMs <= fromMs || isPace(outage)) continue;
      const during = calls.filter(
        (call) => call.server === outage.server && call.startMs >= fromMs && call.startMs < outage.toMs,
      ).length;
      const minutes = (outage.toMs - fromMs) / 60_000;
      const restarts = this.#deaths.filter(({ atMs }) => atMs >= outage.fromMs && atMs < outage.toMs).length;
      // The last lines of batches are tried a few times more.
      const tails = this.#world.plan.isExact ? 12 * this.#linesAt(outage.server) : 0;
      const allowed = widthOf(outage) * (2 * minutes + 10) + restarts * 40 + tails;
      this.require(
        during <= allowed,
        'P13',
        `${outage.server} was called ${during} times in ${minutes} minutes while down`,
      );
    }
  }
}

/** Eight lines of a batch are sent together to a server that answers, so that all its last lines get their tries. */
function widthOf({ says }: Outage): number {
  if (says.kind === 'unreachable' || says.kind === 'timeout' || says.kind === 'reset') return 1;
  const isAlone = says.kind === 'status' && ([401, 402].includes(says.status) || says.status >= 502);
  return isAlone ? 1 : 8;
}

const isPace = ({ says }: Outage): boolean => says.kind === 'status' && says.status === 429;

const describe = (sums: ReadonlyMap<string, unknown>): string => JSON.stringify([...sums]);

const batchOf = (key: string): string => key.slice(0, key.lastIndexOf('-'));

const isSorted = (times: readonly number[]): boolean =>
  times.every((at, i) => i === 0 || times[i - 1]! <= at);

function bump(table: Map<Life, Map<string, number>>, life: Life, name: string, by: number): number {
  const row = table.get(life) ?? new Map<string, number>();
  table.set(life, row);
  const value = (row.get(name) ?? 0) + by;
  row.set(name, value);
  return value;
}
