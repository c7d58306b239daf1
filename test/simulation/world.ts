import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { singleProcess } from '../../src/app/single-process.ts';
import { Engine } from '../../src/batch/engine.ts';
import { inspectInput } from '../../src/batch/validate/inspect.ts';
import type { Inspector } from '../../src/batch/validate/port.ts';
import { LINE_BYTES_MAX } from '../../src/contract/batch.ts';
import type { Inspection, SegmentPlan } from '../../src/contract/inspection.ts';
import type { Failpoint } from '../../src/core/failpoint.ts';
import { LineSplitter } from '../../src/core/lines.ts';
import { silentLog } from '../../src/core/log.ts';
import type { Deployment, Deployments } from '../../src/deployments/port.ts';
import { runExpiry } from '../../src/batch/upload/expiry.ts';
import { createUploader, type Uploader } from '../../src/batch/upload/upload.ts';
import { ApiError } from '../../src/contract/error.ts';
import { isTransient } from '../../src/batch/transient.ts';
import { isFatal } from '../../src/http/errors/api-error.ts';
import { openDiskBlobs } from '../../src/stores/blobs/disk.ts';
import type { BlobStore } from '../../src/stores/blobs/port.ts';
import { StoreError } from '../../src/stores/state/ports.ts';
import type { StateStore } from '../../src/stores/state/ports.ts';
import { change, deploymentOf as deploymentRow, NO_LIMITS, resourceOf } from '../support/state-store.ts';
import { openSqliteInline } from '../../src/stores/state/sqlite/inline.ts';
import { BLOB_DIR } from './blob-path.ts';
import { Changes, type Serving } from './changes.ts';
import { giveUp, runClients } from './clients.ts';
import type { Mutation } from './mutation.ts';
import { Oracle, Violation } from './oracle.ts';
import { overriding } from './overriding.ts';
import { serverOf, type DeploymentPlan, type Fault, type Job, type Plan, type Point } from './plan.ts';
import { createTurn, isRead, storeOf } from './ports.ts';
import { Rng } from './rng.ts';
import { Scheduler, settle } from './scheduler.ts';
import type { Life } from './scheduler.ts';
import { SimFs } from './sim-fs.ts';
import { SimServer, SimUpstream, WELL } from './sim-upstream.ts';
import type { WaitingRoom } from './waiting-room.ts';

const EPOCH_MS = Date.UTC(2026, 0, 1);
/** How long after the last fault every batch may still need, in virtual time (P3). */
const LIVENESS_MS = 3 * 60 * 60_000;
const STEPS_MAX = 400_000;
/** How often the owners of batches that wait consider a cancel. */
const HOPE_EVERY_MS = 60_000;
/** How long before it is full a disk counts as nearly full. */
const STOP_GRACE_MS = 30_000;
const SPACE_MARGIN_MS = 2_000;

export interface Process {
  readonly life: Life;
  readonly engine: Engine;
  readonly uploader: Uploader;
  readonly state: StateStore;
  readonly blobs: BlobStore;
  readonly pathOf: (id: string) => string;
  readonly died: Promise<void>;
  readonly closeDatabase: () => Promise<void>;
}

export interface History {
  readonly seed: number;
  readonly violation: string | null;
  readonly steps: number;
  readonly virtualMs: number;
  readonly batches: number;
  readonly lines: number;
  readonly crashes: number;
  readonly powerCuts: number;
  readonly zombies: number;
  /** Stretches in which a server failed everybody, and how often one died of a line. */
  readonly troubles: number;
  readonly deaths: number;
  readonly failedLines: number;
  /** Requests sent again after each crash. */
  readonly resends: readonly number[];
  readonly failpoints: ReadonlyMap<string, number>;
  readonly room: WaitingRoom['seen'];
  readonly trace: readonly string[];
}

/** Runs one history to its end and judges it. The same plan and mutation always give the same history. */
export async function runHistory(
  plan: Plan,
  { mutation = {}, trace = false }: { mutation?: Mutation; trace?: boolean } = {},
): Promise<History> {
  const undo = mutation.patch?.();
  const world = new World(plan, mutation, trace);
  try {
    return await world.run();
  } finally {
    await world.close();
    undo?.();
  }
}

/** Outlives every process. */
const ETERNAL: Life = { name: 'world', alive: true };

export class World {
  readonly plan: Plan;
  readonly scheduler: Scheduler;
  readonly fs: SimFs;
  readonly upstreams = new Map<string, SimUpstream>();
  readonly servers = new Map<string, SimServer>();
  readonly jobOfFile = new Map<string, Job>();
  readonly oracle: Oracle;
  readonly changes: Changes;
  readonly failpoints = new Map<string, number>();
  readonly trace: string[] = [];
  readonly rng: Rng;
  /** What the clients talk to; null while nothing answers. */
  front: Process | null = null;
  observer!: StateStore;
  crashes = 0;
  powerCuts = 0;
  zombies = 0;
  readonly zombieLives = new Set<Life>();
  #generation = 0;
  #booting: Life | null = null;
  /** The process that was told to stop and has not ended yet. */
  #leaving: Life | null = null;
  #jumpMs = 0;
  #clientsDone = 0;
  readonly #givenUp = new Set<string>();
  #hopeAtMs = 0;
  #broken: Error | null = null;
  readonly #mutation: Mutation;
  readonly #tracing: boolean;
  readonly #turn = createTurn();
  readonly #counts: Record<Point, number> = { store: 0, disk: 0, failpoint: 0 };
  readonly #fired = new Set<Fault>();
  readonly #processes = new Map<Life, Process>();
  readonly #onDeath = new Map<Life, () => void>();
  readonly #ended: Process[] = [];
  readonly #dir: string;

  constructor(plan: Plan, mutation: Mutation, tracing: boolean) {
    this.plan = plan;
    this.#mutation = mutation;
    this.#tracing = tracing;
    this.rng = new Rng(plan.seed).fork('world');
    this.scheduler = new Scheduler(this.rng);
    const { tuning } = plan;
    const disk = this.rng.fork('disk');
    this.fs = new SimFs({
      dir: BLOB_DIR,
      rng: disk.fork('cut'),
      scheduler: this.scheduler,
      latencyMs: () => this.#latency(disk, tuning.diskLatencyMs),
      fault: (op, life) => {
        if (this.crashHere('disk', false, life)) return null;
        if ((op === 'append' || op === 'create') && this.#within('disk_full')) return 'ENOSPC';
        if ((op === 'create' || op === 'read') && this.#within('busy') && disk.chance(0.1)) return 'EMFILE';
        return op === 'fsync' && this.#nth('eio', 'disk', this.#counts.disk) ? 'EIO' : null;
      },
      onOp: (_, life) => void this.crashHere('disk', true, life),
    });
    this.oracle = new Oracle(this);
    this.changes = new Changes(plan);
    this.#dir = scratchDir();
    this.#makeUpstreams();
  }

  note(what: string): void {
    if (this.#tracing) this.trace.push(`${(this.scheduler.nowMs / 1000).toFixed(3)} ${what}`);
  }

  async run(): Promise<History> {
    let violation: string | null = null;
    try {
      writeFileSync(this.#databasePath, await (template ??= makeTemplate()));
      this.observer = await openSqliteInline({ path: this.#databasePath });
      this.#plantTriggers();
      await this.#storeDeployments();
      this.#scheduleFaults();
      this.#scheduleChanges();
      this.#boot(0);
      this.#runClients();
      await this.#play();
      await this.oracle.judge();
      await this.#lastPowerCut();
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      violation = error.message;
    }
    const resends = this.oracle.resends();
    return {
      seed: this.plan.seed,
      violation,
      steps: this.scheduler.steps,
      virtualMs: this.scheduler.nowMs,
      batches: this.oracle.batches,
      lines: this.plan.jobs.reduce((sum, job) => sum + job.lines.length, 0),
      crashes: this.crashes,
      powerCuts: this.powerCuts,
      zombies: this.zombies,
      troubles: this.plan.outages.length,
      deaths: [...this.servers.values()].reduce((sum, { deaths }) => sum + deaths.length, 0),
      failedLines: this.oracle.failedLines,
      resends,
      failpoints: this.failpoints,
      room: this.oracle.waitingRoom.seen,
      trace: this.trace,
    };
  }

  async close(): Promise<void> {
    for (const life of this.#processes.keys()) this.#end(life);
    await this.#closeEnded();
    await this.observer?.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Whether the job's batch may be refused for want of room: it is not to wait, or it could never start. */
  mayLackRoom(job: Job, message: string): boolean {
    const deployment = this.plan.deployments.find(({ name }) => name === job.deployment);
    const whenFull = job.whenFull ?? deployment?.whenFull;
    return whenFull === 'fail' || message.includes('it can never start under this limit');
  }

  get wallMs(): number {
    return EPOCH_MS + this.scheduler.nowMs + this.#jumpMs;
  }

  hasDiskSpace(): boolean {
    const { nowMs } = this.scheduler;
    return !this.plan.faults.some(
      (fault) => fault.kind === 'disk_full' && fault.fromMs - SPACE_MARGIN_MS <= nowMs && nowMs < fault.toMs,
    );
  }

  /** A crash at this point ends the process before the caller hears of it. */
  crashHere(point: Point, after: boolean, life: Life): boolean {
    if (!after) this.#counts[point] += 1;
    const nth = this.#counts[point];
    for (const fault of this.plan.faults) {
      if (fault.kind !== 'crash' || !('nth' in fault.at) || this.#fired.has(fault)) continue;
      if (fault.at.of !== point || fault.at.after !== after || fault.at.nth !== nth) continue;
      this.#fired.add(fault);
      this.crash(life, fault);
      return true;
    }
    return false;
  }

  crash(life: Life, { powerCut, downMs }: { powerCut: boolean; downMs: number }): void {
    if (!life.alive) return;
    this.crashes += 1;
    this.note(`${powerCut ? 'power cut' : 'crash'} of ${life.name}`);
    if (!powerCut) return this.#end(life, downMs);
    this.powerCuts += 1;
    for (const other of this.#processes.keys()) if (other !== life) this.#end(other, downMs);
    this.#end(life, downMs);
    this.fs.powerCut();
    this.oracle.checkFiles();
  }

  /** As the HTTP server does: a broken store ends the process. */
  serverError({ life }: Process, error: Error): void {
    if (isFatal(error)) return this.#fatal(life, error);
    const isKnown = error instanceof ApiError || isTransient(error) || error.name === 'ConnectionLost';
    this.oracle.require(isKnown, 'P9', `a caller got an internal failure: ${error.stack ?? error.message}`);
  }

  /** The simulation itself is broken. */
  failed(error: unknown): void {
    this.#broken ??= error instanceof Error ? error : new Error(String(error));
  }

  // ------------------------------------------------------------------ processes

  /** Which of them share a quota is in their rows. */
  async #storeDeployments(): Promise<void> {
    const { deployments } = this.plan;
    // Dynamic quota alone asks for it.
    if (deployments.every(({ sharedTokensMax }) => sharedTokensMax === null)) return;
    for (const { name, resourceId, enqueuedTokensMax } of deployments) {
      const scope = { resourceId, actor: 'world' };
      const row = deploymentRow(name, { resourceId, enqueuedTokensMax });
      await this.observer.deployments.put(scope, row, { quotaTokensMax: null, atS: 0 });
    }
  }

  #plantTriggers(): void {
    const { schema } = this.#mutation;
    if (!schema) return;
    const database = new DatabaseSync(this.#databasePath);
    database.exec(schema);
    database.close();
  }

  get #databasePath(): string {
    return join(this.#dir, 'offpeak.db');
  }

  #boot(delayMs: number): void {
    if (this.#booting?.alive) return;
    const life: Life = { name: `p${(this.#generation += 1)}`, alive: true };
    this.#booting = life;
    this.scheduler.at(delayMs, life, () => {
      this.note(`${life.name} starts`);
      this.changes.followed(life, this.scheduler.nowMs);
      this.#start(life).then(
        (process) => {
          if (!life.alive) return;
          this.#booting = null;
          this.front = process;
          this.note(`${life.name} is ready`);
          this.oracle.started();
        },
        (error: unknown) => this.#fatal(life, error),
      );
    });
  }

  async #start(life: Life): Promise<Process> {
    const rng = this.rng.fork(life.name);
    const opened = await this.#turn(() => openSqliteInline({ path: this.#databasePath }));
    const died = Promise.withResolvers<void>();
    this.#onDeath.set(life, () => died.resolve());
    const mutation = this.#mutation;
    const raw = mutation.store ? new DatabaseSync(this.#databasePath) : null;
    const starting = {
      life,
      closeDatabase: async () => {
        raw?.close();
        await opened.close();
      },
    } as Process;
    this.#processes.set(life, starting);

    const store = (raw && mutation.store?.(opened, raw)) ?? opened;
    const guarded = storeOf(life, store, {
      scheduler: this.scheduler,
      turn: this.#turn,
      fates: {
        crashHere: (point, after, who) => this.crashHere(point, after, who),
        storeFault: (call) => this.#storeFault(call),
        wrote: () => this.oracle.wrote(),
        answered: (call, args, value) => {
          this.oracle.fence.see(life, call, args, value);
          this.oracle.waitingRoom.see(call, args, value);
        },
        storeLatencyMs: () => this.#latency(rng, this.plan.tuning.storeLatencyMs),
      },
    });
    const after = (delayMs: number) => this.scheduler.after(delayMs, life, () => {});
    const state = mutation.state?.(guarded, { after }) ?? guarded;
    const fs = this.fs.of(life);
    const { tuning } = this.plan;
    const disk = await openDiskBlobs({
      dir: BLOB_DIR,
      fs: mutation.fs?.(fs) ?? fs,
      uuid: rng.uuid,
      blockBytes: tuning.blockBytes,
    });
    await disk.sweep();
    const blobs = mutation.blobs?.(disk) ?? disk;
    const clock = this.scheduler.clock(life, () => this.wallMs);
    const onFatal = (error: unknown): void => this.#fatal(life, error);
    const engine = new Engine({
      ...singleProcess({ work: state.work, workerId: life.name, clock, random: rng.next, log: silentLog }),
      clock,
      random: rng.next,
      uuid: rng.uuid,
      state,
      blobs,
      deployments: this.#deploymentsOf(life),
      inspect: this.#inspectorOf(life, blobs, rng.fork('inspectors')),
      log: silentLog,
      failpoint: this.#failpointOf(life),
      hasDiskSpace: () => mutation.hasDiskSpace?.() ?? this.hasDiskSpace(),
      onFatal,
      options: {
        commitGroupMax: tuning.commitGroupMax,
        commitLingerMs: tuning.commitLingerMs,
        retriesMax: tuning.retriesMax,
        createWaitMs: tuning.createWaitMs,
        tickMs: tuning.tickMs,
        strictWindow: tuning.strictWindow,
        ...mutation.options,
      },
    });
    await engine.start();
    // Two processes that sweep one directory are kept apart by its lock, not by epochs.
    const mayDelete = () => !this.zombieLives.has(life);
    const uploader = createUploader({
      state,
      blobs: overriding(blobs, { delete: async (id) => (mayDelete() ? blobs.delete(id) : undefined) }),
      clock,
      uuid: rng.uuid,
      diskGuard: {
        hasSpace: () => Promise.resolve(this.hasDiskSpace()),
        noteFull() {},
        dropBallast: () => Promise.resolve(),
      },
      log: silentLog,
      limits: NO_LIMITS,
    });
    const housekeeping = runExpiry(
      {
        uploader,
        stores: { state, blobs },
        keep: { batchesMs: null, filesMs: null, auditMs: null },
        clock,
        log: silentLog,
        straysDir: '',
      },
      new AbortController().signal,
    );
    housekeeping.catch((error: unknown) => this.#fatal(life, error));
    const process = { ...starting, engine, uploader, state, blobs, pathOf: disk.pathOf, died: died.promise };
    this.#processes.set(life, process);
    return process;
  }

  /** The engine asked for the end of its process, or did not come up. The supervisor starts another. */
  #fatal(life: Life, error: unknown): void {
    if (!life.alive) return;
    this.note(`${life.name} gives up: ${String(error)}`);
    this.oracle.gaveUp(error);
    this.#end(life, this.rng.int(100, 2_000));
  }

  #end(life: Life, downMs?: number): void {
    if (!life.alive) return;
    life.alive = false;
    const process = this.#processes.get(life);
    this.#processes.delete(life);
    if (process) this.#ended.push(process);
    this.oracle.died(life);
    this.#onDeath.get(life)?.();
    const wasNeeded = this.front?.life === life || this.#booting === life || this.#leaving === life;
    if (this.front?.life === life) this.front = null;
    if (this.#leaving === life) this.#leaving = null;
    if (wasNeeded && downMs !== undefined) this.#boot(downMs);
  }

  async #closeEnded(): Promise<void> {
    for (const process of this.#ended.splice(0)) await this.#turn(() => process.closeDatabase());
  }

  // ------------------------------------------------------------------ faults

  #scheduleFaults(): void {
    for (const fault of this.plan.faults) {
      if (fault.kind === 'crash' && 'ms' in fault.at) {
        this.scheduler.at(fault.at.ms, ETERNAL, () => {
          const life = this.front?.life ?? this.#booting;
          if (life) this.crash(life, fault);
        });
      } else if (fault.kind === 'clock') {
        this.scheduler.at(fault.atMs, ETERNAL, () => {
          this.note(`the wall clock jumps by ${fault.byMs} ms`);
          this.#jumpMs += fault.byMs;
        });
      } else if (fault.kind === 'zombie') {
        this.scheduler.at(fault.atMs, ETERNAL, () => this.#freezeOut(fault));
      } else if (fault.kind === 'stop') {
        this.scheduler.at(fault.atMs, ETERNAL, () => this.#stop(fault));
      }
    }
  }

  #scheduleChanges(): void {
    for (const atMs of this.changes.timesMs) {
      this.scheduler.at(atMs, ETERNAL, () => {
        const { front } = this;
        if (!front) return;
        front.engine.redeploy().then(
          () => {
            this.note(`${front.life.name} follows the changes`);
            this.changes.followed(front.life, atMs);
          },
          (error: unknown) => this.failed(error),
        );
      });
    }
  }

  #freezeOut({ forMs }: Extract<Fault, { kind: 'zombie' }>): void {
    const { front } = this;
    if (!front) return;
    this.zombies += 1;
    this.zombieLives.add(front.life);
    // The clients talk to the new process from now on.
    this.#onDeath.get(front.life)?.();
    this.note(`${front.life.name} is a zombie`);
    this.front = null;
    this.#boot(this.rng.int(0, 200));
    this.scheduler.at(forMs, ETERNAL, () => {
      this.#end(front.life);
      // What the zombie claimed after it was replaced is only taken back by a start without it.
      this.scheduler.at(this.rng.int(0, 2_000), ETERNAL, () => {
        const life = this.front?.life ?? this.#booting;
        if (life) this.crash(life, { powerCut: false, downMs: 100 });
      });
    });
  }

  #stop({ drainMs, downMs }: Extract<Fault, { kind: 'stop' }>): void {
    const { front } = this;
    if (!front) return;
    this.note(`${front.life.name} is told to stop within ${drainMs} ms`);
    this.front = null;
    this.#leaving = front.life;
    const atMs = this.scheduler.nowMs;
    front.engine.stop({ drainMs }).then(
      () => {
        if (!front.life.alive) return;
        this.note(`${front.life.name} has stopped`);
        this.oracle.stopped(front.life, atMs);
        this.#end(front.life, downMs);
      },
      (error: unknown) => this.#fatal(front.life, error),
    );
    // A supervisor does the same.
    const limitMs = drainMs + STOP_GRACE_MS;
    this.scheduler.at(limitMs, front.life, () => {
      const excused = this.oracle.isDisturbed(atMs, this.scheduler.nowMs);
      this.oracle.require(excused, 'P12', `${front.life.name} did not stop within ${limitMs} ms`);
      this.crash(front.life, { powerCut: false, downMs });
    });
  }

  #storeFault(call: string): { error: StoreError; after: boolean } | null {
    const nth = this.#counts.store;
    if (!isRead(call) && this.#within('disk_full'))
      return { error: new StoreError('simulated: disk full', 'disk_full'), after: false };
    if (this.#within('busy') && this.rng.chance(0.5))
      return { error: new StoreError('simulated: busy', 'busy'), after: false };
    const eio = this.#nth('eio', 'store', nth);
    if (eio) return { error: new StoreError('simulated: EIO', 'io'), after: eio.after };
    if (this.#nth('lost_answer', undefined, nth))
      return { error: new StoreError('simulated: connection lost', 'connection'), after: true };
    return null;
  }

  #within(kind: 'disk_full' | 'busy' | 'slow'): boolean {
    const { nowMs } = this.scheduler;
    return this.plan.faults.some(
      (fault) => fault.kind === kind && fault.fromMs <= nowMs && nowMs < fault.toMs,
    );
  }

  #nth<K extends 'eio' | 'lost_answer'>(kind: K, of: 'store' | 'disk' | undefined, nth: number) {
    const fault = this.plan.faults.find(
      (one): one is Extract<Fault, { kind: K }> =>
        one.kind === kind &&
        one.nth <= nth &&
        !this.#fired.has(one) &&
        (one.kind === 'lost_answer' || one.of === of),
    );
    if (fault) this.#fired.add(fault);
    return fault;
  }

  #latency(rng: Rng, typicalMs: number): number {
    if (this.#within('slow')) return rng.int(0, 3_000);
    return rng.chance(0.01) ? rng.int(0, typicalMs * 50) : rng.next() * typicalMs;
  }

  #failpointOf(life: Life): Failpoint {
    return (name) => {
      if (!life.alive) throw new Error('dead');
      this.failpoints.set(name, (this.failpoints.get(name) ?? 0) + 1);
      if (this.crashHere('failpoint', false, life) || this.crashHere('failpoint', true, life)) {
        this.note(`${life.name} ended at ${name}`);
        throw new Error(`simulated crash at ${name}`);
      }
    };
  }

  // ------------------------------------------------------------------ what a process is given

  #makeUpstreams(): void {
    const attempts = new Map<string, number>();
    const lines = new Map(this.plan.jobs.flatMap((job) => job.lines.map((line) => [line.name, line])));
    for (const deployment of this.plan.deployments) {
      for (const name of deployment.upstreams) {
        const upstream = new SimUpstream({
          name,
          deployment: deployment.name,
          server: this.#serverOf(serverOf(this.plan, name)),
          model: deployment.model,
          rng: this.rng.fork(name),
          scheduler: this.scheduler,
          latencyMs: deployment.latencyMs,
          timeoutMs: this.plan.tuning.callTimeoutMs,
          attempts,
          fate: (line) => lines.get(line)?.fate ?? WELL,
          onCall: (call) => {
            this.note(`${call.life.name} calls ${name} for ${call.line}`);
            this.oracle.called(call);
          },
          onEnd: (call) => {
            const { reply } = call;
            this.note(`${name} to ${call.line}: ${reply?.kind === 'answer' ? reply.status : reply?.reason}`);
            this.oracle.ended(call);
          },
          kill: (life, times) => {
            this.oracle.killed(times);
            this.crash(life, { powerCut: false, downMs: 100 });
          },
        });
        this.upstreams.set(name, upstream);
      }
    }
  }

  #serverOf(name: string): SimServer {
    const { deployments, listings, outages } = this.plan;
    const served = deployments.filter(({ upstreams }) =>
      upstreams.some((upstream) => serverOf(this.plan, upstream) === name),
    );
    const known =
      this.servers.get(name) ??
      new SimServer(name, {
        listing: listings[name] ?? 'models',
        models: served.map(({ model }) => model),
        outages,
      });
    this.servers.set(name, known);
    return known;
  }

  #deploymentsOf(life: Life): Deployments {
    const clients = new Map(
      Array.from(this.upstreams, ([name, upstream]) => {
        const client = upstream.clientOf(life);
        return [name, this.#mutation.upstream?.(client) ?? client] as const;
      }),
    );
    const rng = this.rng.fork(`deployments of ${life.name}`);
    const deploymentOf = (
      plan: DeploymentPlan,
      { upstreams, concurrencyMax }: NonNullable<Serving>,
    ): Deployment => ({
      name: plan.name,
      model: 'gpt-4o',
      version: null,
      sku: 'GlobalBatch',
      unusable: null,
      takesImages: true,
      enqueuedTokensMax: plan.enqueuedTokensMax,
      sharedTokensMax: plan.sharedTokensMax,
      whenFull: plan.whenFull,
      concurrencyMax: concurrencyMax + (this.#mutation.windowExtra ?? 0),
      upstreams: upstreams.flatMap((name) => clients.get(name) ?? []),
    });
    const list = (resourceId: string): Deployment[] =>
      this.plan.deployments.flatMap((plan) => {
        if (plan.resourceId !== resourceId) return [];
        const serving = this.#mutation.deafToChanges
          ? plan
          : this.changes.at(plan.name, this.scheduler.nowMs);
        return serving ? [deploymentOf(plan, serving)] : [];
      });
    // Answers that come late must not undo later ones.
    const answer = <T>(value: T): Promise<T> =>
      this.plan.changes.length === 0
        ? Promise.resolve(value)
        : this.scheduler.after(this.#latency(rng, this.plan.tuning.storeLatencyMs), life, () => value);
    return {
      find: (scope, name) => answer(list(scope.resourceId).find((one) => one.name === name)),
      list: (scope) => answer(list(scope.resourceId)),
    };
  }

  #inspectorOf(life: Life, blobs: BlobStore, rng: Rng): Inspector {
    return async (blobId, signal) => {
      const chunks: Buffer[] = [];
      for await (const chunk of blobs.read(blobId)) chunks.push(chunk as Buffer);
      return this.#inspection(this.#mutation.inspected?.(chunks) ?? chunks, { life, rng, signal });
    };
  }

  /** The real pass over the bytes, with smaller segments than in production. */
  async #inspection(
    chunks: readonly Buffer[],
    { life, rng, signal }: { life: Life; rng: Rng; signal?: AbortSignal | undefined },
  ): Promise<Inspection> {
    const inspection = await inspectInput(chunks);
    const clock = this.scheduler.clock(life, () => this.wallMs);
    await clock.sleep(rng.chance(0.2) ? rng.int(0, 40_000) : rng.int(0, 20), signal);
    const { segmentRequestsMax } = this.plan.tuning;
    const segments = inspection.errors ? [] : resegment(Buffer.concat(chunks), segmentRequestsMax);
    return { ...inspection, segments };
  }

  // ------------------------------------------------------------------ the course of a history

  #runClients(): void {
    runClients(this, ETERNAL, () => {
      this.#clientsDone += 1;
    });
  }

  async #play(): Promise<void> {
    const deadlineMs =
      LIVENESS_MS + Math.max(this.plan.calmAtMs, ...this.plan.outages.map(({ toMs }) => toMs));
    for (;;) {
      const more = await this.scheduler.step();
      if (this.#broken !== null) throw this.#broken;
      await this.#afterStep();
      const calm = this.scheduler.nowMs >= this.plan.calmAtMs && this.front !== null;
      if (calm && this.#clientsDone === this.plan.jobs.length && this.oracle.isQuiet()) return;
      if (calm && this.scheduler.nowMs > deadlineMs - LIVENESS_MS / 2) this.#giveUpHopeless();
      this.oracle.require(more, 'P3', 'nothing is left to happen, but batches are not terminal');
      this.oracle.require(
        this.scheduler.steps < STEPS_MAX,
        'P3',
        `still busy after ${STEPS_MAX} steps: a hot loop`,
      );
      if (this.scheduler.nowMs > deadlineMs) this.oracle.stuck();
    }
  }

  /** A batch that nobody can say is at fault waits and says why, until its owner cancels it. */
  #giveUpHopeless(): void {
    if (this.scheduler.nowMs < this.#hopeAtMs) return;
    this.#hopeAtMs = this.scheduler.nowMs + HOPE_EVERY_MS;
    for (const batch of this.oracle.hopeless()) {
      if (this.#givenUp.has(batch.id)) continue;
      this.#givenUp.add(batch.id);
      this.oracle.require(
        batch.status !== 'in_progress' || this.front?.engine.progress(batch)?.waiting,
        'P32',
        `${batch.id} waits for a server, and does not say why`,
      );
      this.note(`${batch.id} is given up`);
      giveUp(this, ETERNAL, batch);
    }
  }

  async #afterStep(): Promise<void> {
    await this.#closeEnded();
    await this.oracle.afterStep();
  }

  /** What is published survives the loss of power; so does what was uploaded. */
  async #lastPowerCut(): Promise<void> {
    for (const life of this.#processes.keys()) this.#end(life);
    await settle();
    await this.#afterStep();
    this.fs.powerCut();
    this.note('the last power cut');
    await this.oracle.judge();
  }
}

/** A database with its schema, made once: opening a copy is quicker than migrating a new one. */
let template: Promise<Buffer> | undefined;
async function makeTemplate(): Promise<Buffer> {
  const dir = scratchDir();
  try {
    const path = join(dir, 'offpeak.db');
    const store = await openSqliteInline({ path });
    for (const id of ['default', 'second']) await store.resources.put(resourceOf(id), change);
    await store.close();
    return readFileSync(path);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** In memory where there is such a place. */
const scratchDir = (): string =>
  mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'offpeak-dst-'));

function resegment(bytes: Buffer, requestsMax: number): SegmentPlan[] {
  const splitter = new LineSplitter({ lineBytesMax: LINE_BYTES_MAX });
  const lines = [...splitter.push(bytes), ...splitter.end()].filter((line) => line.bytes !== undefined);
  const segments: SegmentPlan[] = [];
  for (let i = 0; i < lines.length; i += requestsMax) {
    const part = lines.slice(i, i + requestsMax);
    const first = part[0]!;
    const last = part.at(-1)!;
    segments.push({
      firstLine: first.line,
      requests: part.length,
      byteStart: first.byteStart,
      byteLength: last.byteStart + last.byteLength - first.byteStart,
    });
  }
  return segments;
}
