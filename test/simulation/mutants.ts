import { createHash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { Readable } from 'node:stream';
import type { BlobStore } from '../../src/stores/blobs/port.ts';
import { StoreError, type ClaimedSegment, type Room } from '../../src/stores/state/ports.ts';
import { NO_USAGE, type Upstream } from '../../src/upstream/port.ts';
import { BLAME_MUTANTS } from './blame-mutants.ts';
import type { Mutation } from './mutation.ts';
import { overriding } from './overriding.ts';
import type { Weather } from './plan.ts';

/** A planted bug, and the weather in which it is most likely to be seen. */
export interface Mutant extends Mutation {
  readonly weather: Weather;
}

/** A simulation that does not catch one of these is blind there. */
export const MUTANTS: Readonly<Record<string, Mutant>> = {
  ...BLAME_MUTANTS,

  'a result is committed whatever its epoch': {
    weather: 'zombies',
    store: (store, database) =>
      overriding(store, {
        results: overriding(store.results, {
          commit: (group) =>
            store.results.commit(
              group.map((result) => ({
                ...result,
                epoch: epochOf(database, result.batchSeq, result.segmentIndex),
              })),
            ),
        }),
      }),
  },

  'claims and starts do not raise the epoch': {
    weather: 'zombies',
    store: (store, database) =>
      overriding(store, {
        work: overriding(store.work, {
          claim: async (batchSeq, options) => {
            const claims = await store.work.claim(batchSeq, options);
            for (const { index } of claims) addToEpoch(database, { batchSeq, index }, -1);
            return claims.map((claim): ClaimedSegment => ({ ...claim, epoch: claim.epoch - 1 }));
          },
          reclaim: async (workerId) => {
            database.exec('create temp table before as select batch_seq, "index", epoch from segments');
            const taken = await store.work.reclaim(workerId);
            database.exec(
              'update segments set epoch = (select epoch from before b where b.batch_seq = segments.batch_seq and b."index" = segments."index"); drop table before',
            );
            return taken;
          },
        }),
      }),
  },

  'counters are moved twice': {
    weather: 'fair',
    schema: `create trigger twice after insert on results begin
      update batches set completed = completed + 1 where seq = new.batch_seq; end`,
  },

  'results are acknowledged before they are committed': {
    weather: 'crashes',
    state: (state, { after }) =>
      overriding(state, {
        results: overriding(state.results, {
          commit: (group) => {
            after(3_000)
              .then(() => state.results.commit(group))
              .catch(() => {
                // Nobody waits for it any more: that is the bug.
              });
            return Promise.resolve([]);
          },
        }),
      }),
  },

  'a group that the store could not take is forgotten': {
    weather: 'disk',
    state: (state) =>
      overriding(state, {
        results: overriding(state.results, {
          commit: (group) =>
            state.results.commit(group).catch((error: unknown) => {
              if (error instanceof StoreError && error.transient) return [];
              throw error;
            }),
        }),
      }),
  },

  'the commit group has no limit': {
    weather: 'crashes',
    options: { commitGroupMax: 10_000, commitLingerMs: 20_000 },
  },

  'recorded lines are forgotten by a claim': {
    weather: 'crashes',
    state: (state) =>
      overriding(state, {
        work: overriding(state.work, {
          claim: async (batchSeq, options) =>
            (await state.work.claim(batchSeq, options)).map((claim) => ({ ...claim, recordedLines: [] })),
        }),
      }),
  },

  're-sent requests are not counted': {
    weather: 'crashes',
    schema: `create trigger forget after update of resent on batches when new.resent > 0 begin
      update batches set resent = 0 where seq = new.seq; end`,
  },

  'a suspect line is not written down': {
    weather: 'killer',
    state: (state) =>
      overriding(state, { work: overriding(state.work, { markSuspect: () => Promise.resolve(true) }) }),
  },

  'a segment of a dead process is not taken back': {
    weather: 'crashes',
    state: (state) =>
      overriding(state, {
        work: overriding(state.work, { reclaim: () => Promise.resolve({ segments: 0, requests: 0 }) }),
      }),
  },

  'a stop keeps its segments': {
    weather: 'crashes',
    state: (state) =>
      overriding(state, { work: overriding(state.work, { release: () => Promise.resolve() }) }),
  },

  'a blob is renamed without fsync': {
    weather: 'crashes',
    fs: (fs) =>
      overriding(fs, {
        create: async (path) => overriding(await fs.create(path), { fsync: () => Promise.resolve() }),
      }),
  },

  'the directory of a blob is not synced': {
    weather: 'crashes',
    fs: (fs) => overriding(fs, { fsyncDir: () => Promise.resolve() }),
  },

  'a failed fsync is tried again': {
    weather: 'disk',
    fs: (fs) =>
      overriding(fs, {
        create: async (path) => {
          const file = await fs.create(path);
          return overriding(file, { fsync: () => file.fsync().catch(() => file.fsync()) });
        },
      }),
  },

  'a batch is published before its output is durable': {
    weather: 'fair',
    blobs: (blobs) => overriding(blobs, { put: putLater(blobs) }),
  },

  'the last line of a produced file is lost': {
    weather: 'fair',
    blobs: (blobs) =>
      overriding(blobs, {
        put: async (id, chunks, options) => {
          const all = await gathered(chunks);
          return blobs.put(id, Readable.from(isProduced(id) ? [withoutLastLine(all)] : all), options);
        },
      }),
  },

  'an inspection is made of all lines but the last': {
    weather: 'fair',
    inspected: (chunks) => [withoutLastLine(chunks)],
  },

  'a repeated create makes another batch': {
    weather: 'zombies',
    state: (state) =>
      overriding(state, {
        batches: overriding(state.batches, {
          create: (scope, batch, { room }) => state.batches.create(scope, batch, { room }),
        }),
      }),
  },

  'a cancel is not seen while requests are sent': {
    weather: 'fair',
    state: (state) =>
      overriding(state, {
        batches: overriding(state.batches, {
          live: async () =>
            (await state.batches.live()).map((batch) =>
              batch.status === 'cancelling' ? { ...batch, status: 'in_progress' } : batch,
            ),
        }),
      }),
  },

  'the quota is not checked': {
    weather: 'fair',
    state: (state) =>
      overriding(state, {
        batches: overriding(state.batches, {
          create: (scope, batch, options) =>
            state.batches.create(scope, batch, { ...options, room: UNLIMITED }),
          plan: (seq, plan) => state.batches.plan(seq, { ...plan, room: UNLIMITED }),
        }),
      }),
  },

  'what waits is not looked at before another is let in': {
    weather: 'queue',
    store: (store, database) =>
      overriding(store, {
        batches: overriding(store.batches, {
          create: (...args) => withoutWaiting(database, 0, () => store.batches.create(...args)),
          plan: (seq, plan) => withoutWaiting(database, seq, () => store.batches.plan(seq, plan)),
        }),
      }),
  },

  'no room is kept for one that has waited long': {
    weather: 'queue',
    store: (store) =>
      overriding(store, {
        batches: overriding(store.batches, {
          // On this clock no batch has waited yet.
          plan: (seq, plan) => store.batches.plan(seq, { ...plan, atS: 0 }),
        }),
      }),
  },

  'a plan ignores the limit': {
    weather: 'queue',
    store: (store) =>
      overriding(store, {
        batches: overriding(store.batches, {
          plan: (seq, plan) => store.batches.plan(seq, { ...plan, room: UNLIMITED }),
        }),
      }),
  },

  'tokens of ended batches are not released': {
    weather: 'queue',
    store: (store, database) =>
      overriding(store, {
        batches: overriding(store.batches, {
          create: (scope, batch, options) =>
            store.batches.create(scope, batch, {
              ...options,
              room: options.room && lessEnded(database, batch.deployment, options.room),
            }),
          plan: (seq, plan) =>
            store.batches.plan(seq, { ...plan, room: lessEnded(database, plan.deployment, plan.room) }),
        }),
      }),
  },

  'a batch that waits holds its tokens': {
    weather: 'queue',
    schema: ['insert', 'update of waiting_tokens']
      .map(
        (
          event,
          i,
        ) => `create trigger hold${i} after ${event} on batches when new.waiting_tokens is not null begin
          update batches set enqueued_tokens = new.waiting_tokens where seq = new.seq; end;`,
      )
      .join(''),
  },

  'dynamic quota counts the deployment alone': {
    weather: 'queue',
    schema: `create trigger alone after insert on deployments begin
      delete from deployments where name = new.name; end`,
  },

  'the batch that has waited longest is forgotten': {
    weather: 'queue',
    state: (state) =>
      overriding(state, {
        batches: overriding(state.batches, {
          nextToStart: async (...args) => (await state.batches.nextToStart(...args)).slice(1),
        }),
      }),
  },

  'a batch that is cancelled goes on waiting': {
    weather: 'queue',
    schema: `create trigger goes_on after update of status on batches
      when new.status = 'cancelling' and old.waiting_tokens is not null begin
      update batches set waiting_tokens = old.waiting_tokens where seq = new.seq; end`,
  },

  'a cancel is not written down': {
    weather: 'fair',
    schema: `create trigger silent before insert on audit when new.action = 'batch.cancel' begin
      select raise(ignore); end`,
  },

  'a change of a deployment is not followed': {
    weather: 'fair',
    deafToChanges: true,
  },

  'a cancel throws results away': {
    weather: 'fair',
    schema: `create trigger lose after update of status on batches when new.status = 'cancelling' begin
      delete from results where batch_seq = new.seq; end`,
  },

  'the sweep takes uploads for strays': {
    weather: 'fair',
    state: (state) =>
      overriding(state, { files: overriding(state.files, { existing: () => Promise.resolve([]) }) }),
  },

  'results come out in another order': {
    weather: 'fair',
    state: (state) =>
      overriding(state, {
        results: overriding(state.results, {
          page: async (seq, query) => {
            const [first, second, ...rest] = await state.results.page(seq, query);
            return first && second ? [second, first, ...rest] : first ? [first] : [];
          },
        }),
      }),
  },

  'timestamps follow a clock that goes back': {
    weather: 'fair',
    schema: `create trigger back after update of finalizing_at on batches when new.finalizing_at is not null begin
      update batches set finalizing_at = new.created_at - 1 where seq = new.seq; end`,
  },

  'Retry-After is ignored': {
    weather: 'fair',
    upstream: (upstream) =>
      overriding(upstream, {
        call: async (request, signal) => {
          const reply = await upstream.call(request, signal);
          return reply.kind === 'answer' ? { ...reply, retryAfterMs: null } : reply;
        },
      }),
  },

  'an upstream that is down fails lines': {
    weather: 'outages',
    upstream: (upstream) => overriding(upstream, { call: failuresAsRefusals(upstream) }),
  },

  'bodies are parsed and written again': {
    weather: 'fair',
    upstream: (upstream) =>
      overriding(upstream, {
        call: (request, signal) => {
          const body = Buffer.from(JSON.stringify(JSON.parse(Buffer.from(request.body).toString())));
          return upstream.call({ ...request, body }, signal);
        },
      }),
  },

  'each attempt has its own idempotency key': {
    weather: 'fair',
    upstream: (upstream) => {
      let attempt = 0;
      return overriding(upstream, {
        call: (request, signal) =>
          upstream.call(
            { ...request, idempotencyKey: `${request.idempotencyKey}.${(attempt += 1)}` },
            signal,
          ),
      });
    },
  },

  'the window is one too large': {
    weather: 'fair',
    windowExtra: 1,
  },

  'requests are sent while the disk is full': {
    weather: 'disk',
    hasDiskSpace: () => true,
  },
};

const UNLIMITED = { enqueuedTokensMax: Number.MAX_SAFE_INTEGER, sharedTokensMax: null };

/** As if no other batch than `seq` waited. */
async function withoutWaiting<T>(database: DatabaseSync, seq: number, effect: () => Promise<T>): Promise<T> {
  const others = database
    .prepare(
      'select seq, waiting_tokens as tokens from batches where waiting_tokens is not null and seq <> ?',
    )
    .all(seq);
  const set = database.prepare('update batches set waiting_tokens = ? where seq = ?');
  for (const other of others) set.run(null, Number(other['seq']));
  try {
    return await effect();
  } finally {
    for (const other of others) set.run(Number(other['tokens']), Number(other['seq']));
  }
}

function lessEnded(database: DatabaseSync, deployment: string | null, room: Room): Room {
  const ended = database
    .prepare(
      `select coalesce(sum(enqueued_tokens), 0) as tokens from batches
       where deployment = ? and status in ('completed', 'failed', 'expired', 'cancelled')`,
    )
    .get(deployment);
  const tokens = Number(ended?.['tokens']);
  return {
    enqueuedTokensMax: room.enqueuedTokensMax - tokens,
    sharedTokensMax: room.sharedTokensMax && room.sharedTokensMax - tokens,
  };
}

const epochOf = (database: DatabaseSync, batchSeq: number, index: number): number =>
  Number(
    database.prepare('select epoch from segments where batch_seq = ? and "index" = ?').get(batchSeq, index)?.[
      'epoch'
    ],
  );

function addToEpoch(
  database: DatabaseSync,
  { batchSeq, index }: { batchSeq: number; index: number },
  by: number,
): void {
  database
    .prepare('update segments set epoch = epoch + ? where batch_seq = ? and "index" = ?')
    .run(by, batchSeq, index);
}

/** Answers at once, and writes the bytes afterwards. */
function putLater(blobs: BlobStore): BlobStore['put'] {
  return async (id, chunks, options) => {
    const bytes = Buffer.concat(await gathered(chunks));
    blobs.put(id, Readable.from([bytes]), options).catch(() => {
      // Nobody waits for it any more: that is the bug.
    });
    return { id, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
  };
}

async function gathered(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

const isProduced = (blobId: string): boolean => blobId.includes('_');

function withoutLastLine(chunks: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat(chunks);
  return bytes.subarray(0, bytes.lastIndexOf('\n', -2) + 1);
}

const failuresAsRefusals =
  (upstream: Upstream): Upstream['call'] =>
  async (request, signal) => {
    const reply = await upstream.call(request, signal);
    if (reply.kind === 'answer' || reply.reason === 'aborted') return reply;
    const body = Buffer.from('{"error":{"message":"Bad Gateway"}}');
    return {
      kind: 'answer',
      status: 400,
      body,
      requestId: null,
      retryAfterMs: null,
      usage: NO_USAGE,
      fault: null,
    };
  };
