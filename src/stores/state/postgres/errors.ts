import { StoreError } from '../ports.ts';

/** Reasons by SQLSTATE, or by its class, the first two characters. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const REASONS: Readonly<Record<string, StoreError['reason']>> = {
  '08': 'connection',
  '40001': 'busy', // serialization_failure
  '40P01': 'busy', // deadlock_detected
  '53': 'busy', // insufficient resources
  '53100': 'disk_full',
  '55P03': 'busy', // lock_not_available
  '57014': 'busy', // query_canceled, by a timeout of the server's
  '57P01': 'connection', // admin_shutdown
  '57P02': 'connection', // crash_shutdown
  '57P03': 'connection', // cannot_connect_now
  '57P05': 'connection', // idle_session_timeout
  '58': 'io', // system errors
  XX: 'io', // internal errors, corrupted data
};

const SYSTEM_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
/** `pg` itself reports these without a code. */
const DISCONNECTED =
  /^(Connection terminated|Client has encountered a connection error|Client was closed|timeout exceeded|timeout expired)/;

const OTHER_TABLES =
  'The tables in it are not those of Offpeak. Is --database right? Give Offpeak a database of its own.';

/** An error that is not the driver's own is returned as it is. */
export function toStoreError(error: unknown, doing: string): unknown {
  if (!(error instanceof Error) || error instanceof StoreError) return error;
  const reason = toReason(error);
  return reason
    ? new StoreError(`PostgreSQL: ${doing} failed: ${describe(error)}${adviceFor(error)}`, reason, {
        cause: error,
      })
    : error;
}

const ADVICE: Readonly<Record<string, string>> = {
  '3D000': 'Is --database right? Offpeak makes its tables, and you the database.', // invalid_catalog_name
  '28000': 'Are user and password in --database right?', // invalid_authorization_specification
  '28P01': 'Are user and password in --database right?', // invalid_password
  '42P01': OTHER_TABLES, // undefined_table
  '42P07': OTHER_TABLES, // duplicate_table
  '42703': OTHER_TABLES, // undefined_column
  '42501': 'Give its user the right to make tables there, or name another database.', // insufficient_privilege
};

function adviceFor(error: Error): string {
  const advice = 'code' in error && typeof error.code === 'string' ? ADVICE[error.code] : undefined;
  return advice === undefined ? '' : `. ${advice}`;
}

function toReason(error: Error): StoreError['reason'] | undefined {
  if (DISCONNECTED.test(error.message)) return 'connection';
  // One host has several addresses, and all refused.
  if (error instanceof AggregateError)
    return error.errors.some((one) => toReason(one)) ? 'connection' : undefined;
  if (!('code' in error) || typeof error.code !== 'string') return undefined;
  if (SYSTEM_CODES.has(error.code)) return 'connection';
  return 'severity' in error
    ? (REASONS[error.code] ?? REASONS[error.code.slice(0, 2)] ?? 'other')
    : undefined;
}

const describe = (error: Error): string =>
  error instanceof AggregateError ? error.errors.map((one: Error) => one.message).join('; ') : error.message;

/** Whether the transaction may succeed when it runs again. */
export const isConflict = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === '40001' || error.code === '40P01');
