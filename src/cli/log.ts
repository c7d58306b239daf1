import { pino } from 'pino';
import type { OptionValues } from '../config/options.ts';
import { createLog, type Log, type LogEntry } from '../core/log.ts';
import { oneLine } from './terminal.ts';

/** Lines for people on a terminal, JSON lines for machines elsewhere; to stderr either way. */
export function openLog(level: OptionValues['logLevel']): Log {
  if (process.stderr.isTTY) {
    const shown = LEVELS.indexOf(level);
    return createLog((entry) => {
      if (LEVELS.indexOf(entry.level) >= shown) process.stderr.write(humanLine(entry));
    });
  }
  const json = pino(
    {
      level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
  return createLog(({ event, level: of, message, fields }) =>
    json[of]({ event, ...Object.fromEntries(fields) }, message),
  );
}

const LEVELS: readonly OptionValues['logLevel'][] = ['debug', 'info', 'warn', 'error', 'silent'];

function humanLine({ level, message, fields }: LogEntry): string {
  const details = fields.map(([name, value]) => `${name}=${oneLine(String(value))}`);
  const time = new Date().toTimeString().slice(0, 8);
  return `${[time, level.padEnd(5), message, ...details].join(' ')}\n`;
}
