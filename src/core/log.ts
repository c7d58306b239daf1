import { EVENTS, type EventFields, type EventName, type FieldName, type Level } from './events.ts';

/** The log that the operator reads. It never throws and never waits: no request, no batch and no shutdown depends on it. */
export interface Log {
  event<Name extends EventName>(name: Name, fields: EventFields<Name>): void;
}

/** An event as it is written. Its fields are in the order of the table; absent ones are left out. */
export interface LogEntry {
  readonly event: EventName;
  readonly level: Level;
  readonly message: string;
  readonly fields: readonly (readonly [name: FieldName, value: string | number])[];
}

/** `isLogged`: whether events of a level are written at all. */
export const createLog = (
  write: (entry: LogEntry) => void,
  isLogged: (level: Level) => boolean = () => true,
): Log => ({
  event(name, given) {
    const { level, message, fields } = EVENTS[name];
    if (!isLogged(level)) return;
    const values: Partial<Record<FieldName, string | number | null>> = given;
    try {
      write({
        event: name,
        level,
        message,
        fields: fields.flatMap((field) => {
          const known = field.replace('?', '') as FieldName;
          const value = values[known];
          return value === undefined || value === null ? [] : [[known, value] as const];
        }),
      });
    } catch {
      // Nobody can learn of it: the log is the way to tell.
    }
  },
});

export const silentLog: Log = { event() {} };
