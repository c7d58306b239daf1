import { randomBytes } from 'node:crypto';

/** 256 bits, in letters that every header and shell takes. */
export const makeKey = (): string => randomBytes(32).toString('hex');

/** As much of a key as is kept, beside its digest. */
export const hintOf = (key: string): string => key.slice(-4);

export const KEY_SLOTS = [1, 2] as const;
