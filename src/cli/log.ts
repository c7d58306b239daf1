import { pino } from 'pino';
import type { OptionValues } from '../config/options.ts';
import type { Log, LogFields } from '../core/log.ts';
import { oneLine } from './terminal.ts';

type Level = OptionValues['logLevel'];

/** Lines for people on a terminal, JSON lines for machines elsewhere; to stderr either way. */
export function createLog(level: Level): Log {
  if (process.stderr.isTTY) return humanLog(level);
  return pino(
    {
      level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}

const LEVELS: readonly Level[] = ['debug', 'info', 'warn', 'error', 'silent'];

function humanLog(level: Level): Log {
  const write = (of: Level) => (fields: LogFields, message: string) => {
    if (LEVELS.indexOf(of) < LEVELS.indexOf(level)) return;
    const details = Object.entries(fields).map(([name, value]) => `${name}=${oneLine(String(value))}`);
    const time = new Date().toTimeString().slice(0, 8);
    process.stderr.write(`${[time, of.padEnd(5), message, ...details].join(' ')}\n`);
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}
