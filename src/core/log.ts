/** What the domain may log: a message and named plain fields. Bodies, keys and file contents never go here. */
export interface Log {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
