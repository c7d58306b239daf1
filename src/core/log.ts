import { EVENTS, type EventFields, type EventName, type FieldName, type Level } from './events.ts';

/** Tells the operator. It never throws and never waits: no request, no batch and no shutdown depends on it. */
export interface Log {
  event<Name extends EventName>(name: Name, fields: EventFields<Name>): void;
}

/** An event as it is written: in the order of the table, without what is absent. */
export interface LogEntry {
  readonly event: EventName;
  readonly level: Level;
  readonly message: string;
  readonly fields: readonly (readonly [name: FieldName, value: string | number])[];
}

/** `isTold`: whether events of a level are written at all. */
export const createLog = (
  write: (entry: LogEntry) => void,
  isTold: (level: Level) => boolean = () => true,
): Log => ({
  event(name, given) {
    const { level, message, fields } = EVENTS[name];
    if (!isTold(level)) return;
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
      // There is nobody to tell.
    }
  },
});

export const silentLog: Log = { event() {} };
