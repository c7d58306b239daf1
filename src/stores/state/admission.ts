import { sql } from 'kysely';

import { QUEUE_PASS_S } from '../../contract/control.ts';
import type { Db } from './database.ts';
import type { DeploymentRoom, Room } from './ports.ts';
import { heldTokens, sharedHeldTokens } from './quota.ts';
import { withLive } from './batch-rows.ts';

/** The tokens that a batch asks for, and what decides whether it gets them. */
export interface Admission {
  readonly tokens: number;
  /** Tokens that the live batches of its deployment hold, without those that are asked for. */
  readonly held: number;
  /** Tokens that all live batches of the quota group hold, without those that are asked for. */
  readonly sharedHeld: number;
  readonly room: Room;
  /** Older batches of the deployment that wait. Those that can never be admitted do not count. */
  readonly older: Waiters;
  readonly nowS: number;
}

/** The facts about waiting batches that decide. Infinity: there is no such batch. */
interface Waiters {
  readonly fewestTokens: number;
  /** When the oldest one began to wait of those that fit the deployment's own limit; then the same of all others. */
  readonly ownSinceS: number;
  readonly sharedSinceS: number;
}

/** The rule is described at `Room`. */
export function isAdmitted({ tokens, held, sharedHeld, room, older, nowS }: Admission): boolean {
  const own = room.enqueuedTokensMax - held;
  const shared = room.sharedTokensMax === null ? -Infinity : room.sharedTokensMax - sharedHeld;
  if (older.fewestTokens <= Math.max(own, shared)) return false;
  const isKept = (sinceS: number) => nowS - sinceS > QUEUE_PASS_S;
  if (isKept(older.ownSinceS)) return false;
  if (tokens <= own) return true;
  // Batches that only shared room can take keep shared room free. They do not hold up the deployment's own share.
  return tokens <= shared && !isKept(older.sharedSinceS);
}

/** Whether the tokens would be admitted if there were no other batch. */
export const couldEverFit = (tokens: number, room: Room): boolean => tokens <= largestOf(room);

const largestOf = ({ enqueuedTokensMax, sharedTokensMax }: Room): number =>
  Math.max(enqueuedTokensMax, sharedTokensMax ?? 0);

/** `tokens`: those that the batch needs beyond what it holds. `olderThanSeq`: undefined for a batch that has no row yet. */
export async function hasRoom(
  db: Db,
  of: Of,
  {
    tokens,
    room,
    nowS,
    olderThanSeq,
  }: {
    readonly tokens: number;
    readonly room: Room;
    readonly nowS: number;
    readonly olderThanSeq?: number;
  },
): Promise<boolean> {
  const { held, sharedHeld } = await holdings(db, of, room);
  const older = await waiters(db, of, { room, olderThanSeq });
  return isAdmitted({ tokens, held, sharedHeld, room, older, nowS });
}

const TOO_LARGE_MAX = 100;

/** See `BatchStore.nextToStart`. At most one batch can be admitted at a time: the oldest that fits into what is free. */
export async function nextToStart(db: Db, { room, ...of }: DeploymentRoom, nowS: number): Promise<number[]> {
  const { held, sharedHeld } = await holdings(db, of, room);
  const free = Math.max(room.enqueuedTokensMax - held, (room.sharedTokensMax ?? -Infinity) - sharedHeld);
  const waiting = waitingAt(db, of)
    .select(['seq', sql<number>`waiting_tokens`.as('tokens')])
    .orderBy('seq');
  const tooLarge = await waiting.where('waiting_tokens', '>', largestOf(room)).limit(TOO_LARGE_MAX).execute();
  const next = tooLarge.map(({ seq }) => seq);
  const oldest = await waiting.where('waiting_tokens', '<=', free).limit(1).executeTakeFirst();
  if (oldest === undefined) return next;
  const { seq: olderThanSeq, tokens } = oldest;
  return (await hasRoom(db, of, { tokens, room, nowS, olderThanSeq })) ? [olderThanSeq, ...next] : next;
}

type Of = Omit<DeploymentRoom, 'room'>;

/** Tokens held by the deployment, and by its quota group, which matters with dynamic quota alone. */
async function holdings(
  db: Db,
  of: Of,
  { sharedTokensMax }: Room,
): Promise<Pick<Admission, 'held' | 'sharedHeld'>> {
  const held = await heldTokens(db, of);
  return { held, sharedHeld: sharedTokensMax === null ? held : await sharedHeldTokens(db, of) };
}

const waitingAt = (db: Db, { resourceId, deployment }: Of) =>
  withLive(db)
    .where('resource_id', '=', resourceId)
    .where('deployment', '=', deployment)
    .where('waiting_tokens', 'is not', null);

async function waiters(
  db: Db,
  of: Of,
  { room, olderThanSeq }: { room: Room; olderThanSeq: number | undefined },
): Promise<Waiters> {
  const isOwn = sql<boolean>`waiting_tokens <= ${room.enqueuedTokensMax}`;
  let waiting = waitingAt(db, of).where('waiting_tokens', '<=', largestOf(room));
  if (olderThanSeq !== undefined) waiting = waiting.where('seq', '<', olderThanSeq);
  const row = await waiting
    .select((eb) => [
      eb.fn.min('waiting_tokens').as('fewestTokens'),
      sql<number | null>`min(case when ${isOwn} then created_at end)`.as('ownSinceS'),
      sql<number | null>`min(case when ${isOwn} then null else created_at end)`.as('sharedSinceS'),
    ])
    .executeTakeFirstOrThrow();
  return {
    fewestTokens: row.fewestTokens ?? Infinity,
    ownSinceS: row.ownSinceS ?? Infinity,
    sharedSinceS: row.sharedSinceS ?? Infinity,
  };
}
