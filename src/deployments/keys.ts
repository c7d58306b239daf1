import { randomBytes } from 'node:crypto';

/** A key has 256 bits, in letters that every header and shell takes. */
export const makeKey = (): string => randomBytes(32).toString('hex');

/** The part of a key that is kept beside its digest, so that people can tell keys apart. */
export const hintOf = (key: string): string => key.slice(-4);

export const KEY_SLOTS = [1, 2] as const;
