/** `expires_after` of an upload and `output_expires_after` of a batch. Source: docs/contract.md §1. */
import { ApiError, type Dialect } from '../../contract/error.ts';
import type { Surface } from '../address/surface.ts';

export interface ExpiresAfter {
  readonly anchor?: unknown;
  readonly seconds?: unknown;
}

const SECONDS_MAX = 2_592_000;
/** Azure documents 14 days, but its resources take 3, and no client relies on a refusal. */
const SECONDS_MIN: Readonly<Record<Dialect, number>> = { azure: 259_200, openai: 3_600 };

/** Returns the seconds after creation, or null when the caller asked for no expiry. */
export function parseExpiresAfter(
  wanted: ExpiresAfter,
  { dialect, param }: { dialect: Dialect; param: 'expires_after' | 'output_expires_after' },
): number | null {
  const { anchor, seconds } = wanted;
  if (anchor == null && seconds == null) return null;
  for (const [name, value] of Object.entries({ anchor, seconds }))
    if (value == null)
      throw new ApiError('missingParameter', `Missing required parameter: '${param}.${name}'.`, {
        param: `${param}.${name}`,
      });
  if (anchor !== 'created_at')
    throw new ApiError('invalidValue', `Invalid value for '${param}.anchor': it must be 'created_at'.`, {
      param: `${param}.anchor`,
    });
  const value = typeof seconds === 'string' && /^\d{1,10}$/.test(seconds) ? Number(seconds) : seconds;
  const min = SECONDS_MIN[dialect];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > SECONDS_MAX)
    throw new ApiError(
      'invalidValue',
      `Invalid value for '${param}.seconds': it must be a whole number from ${min} to ${SECONDS_MAX}.`,
      { param: `${param}.seconds` },
    );
  return value;
}

/** The expiry of an upload, on the surfaces that have it. */
export const fileExpiry = (
  { dialect, fileExpiry: isKnown }: Surface,
  wanted: ExpiresAfter | null | undefined,
): number | null => (isKnown ? parseExpiresAfter(wanted ?? {}, { dialect, param: 'expires_after' }) : null);

/** SDKs send `name[seconds]`, and the original's documentation has `name.seconds`. */
export const flattened = (
  read: (key: string) => unknown,
  name: 'expires_after' | 'output_expires_after',
): ExpiresAfter => ({
  anchor: read(`${name}[anchor]`) ?? read(`${name}.anchor`),
  seconds: read(`${name}[seconds]`) ?? read(`${name}.seconds`),
});
