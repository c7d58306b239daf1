import { z } from 'zod';
import { type ControlCommandFlags, openControl } from '../client/control-client.ts';
import type { AuditEntry } from '../client/control-shapes.ts';
import { EXIT, type ExitCode } from '../process/exit.ts';
import { dateTime, note, oneLine, printJson, printTable } from '../terminal/print.ts';

export interface AuditFlags extends ControlCommandFlags {
  readonly resource?: string;
  readonly limit: number;
  /** The number of an entry. Entries older than it are listed. */
  readonly before?: number;
}

/** Who changed what, newest first. */
export async function showAudit(flags: AuditFlags): Promise<ExitCode> {
  const { resource, limit, before } = flags;
  const page = await (await openControl(flags)).audit({ resource, limit, before });
  const { data, has_more } = page;
  if (flags.json) printJson(page);
  else printTable(['time (UTC)', 'resource', 'actor', 'action', 'target', 'change'], data.map(auditRow));
  if (!flags.json && has_more) note(`There are more: --before ${data.at(-1)?.seq ?? ''}`);
  return EXIT.ok;
}

export const auditRow = (entry: AuditEntry): string[] => [
  dateTime(entry.at),
  oneLine(entry.resource ?? '-'),
  oneLine(entry.actor),
  oneLine(entry.action),
  oneLine(entry.target),
  oneLine(
    Object.entries(entry.detail ?? {})
      .map(([field, value]) => `${field}=${changeText(value)}`)
      .join(' '),
  ),
];

/** A value, or the old and the new one. */
function changeText(value: unknown): string {
  const { data } = FromTo.safeParse(value);
  if (data) return `${valueText(data.from)}→${valueText(data.to)}`;
  return valueText(value);
}

const FromTo = z.strictObject({ from: z.unknown(), to: z.unknown() });

const valueText = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
