import { styleText } from 'node:util';
import type { OptionValues } from '../../config/options.ts';
import { EVENTS, type Level } from '../../core/events.ts';
import { createLog, type Log, type LogEntry } from '../../core/log.ts';
import { NonBlockingWriter } from './non-blocking-writer.ts';
import { oneLine } from './print.ts';

/** A longer value is cut. It is a stack, or text of another program. */
const VALUE_LENGTH_MAX = 4_096;

export interface OpenLog extends Log {
  /** Resolves when everything is written, or after `ms`. */
  flush(ms: number): Promise<void>;
}

/** The log on standard error: lines for people, or JSON lines for machines. */
export function openLog({ logLevel, logFormat }: Pick<OptionValues, 'logLevel' | 'logFormat'>): OpenLog {
  const isPretty = logFormat === 'pretty' || (logFormat === 'auto' && process.stderr.isTTY);
  const format = isPretty ? prettyLine : jsonLine;
  const writer = new NonBlockingWriter(2, { droppedLine: (count) => format(dropped(count)) });
  process.once('exit', () => writer.flushNow());
  const levelMin = LEVELS.indexOf(logLevel);
  const log = createLog(
    (entry) => writer.write(format(entry)),
    (level) => LEVELS.indexOf(level) >= levelMin,
  );
  return { ...log, flush: (ms) => writer.flush(ms) };
}

const LEVELS: readonly OptionValues['logLevel'][] = ['debug', 'info', 'warn', 'error', 'silent'];

const dropped = (count: number): LogEntry => ({
  event: 'log.dropped',
  ...EVENTS['log.dropped'],
  fields: [['count', count]],
});

function jsonLine({ event, level, message, fields }: LogEntry): string {
  const shown = fields.map(([name, value]) => [name, bounded(value)] as const);
  const time = new Date().toISOString();
  return `${JSON.stringify({ level, time, event, ...Object.fromEntries(shown), msg: message })}\n`;
}

function prettyLine({ level, message, fields }: LogEntry): string {
  const details = fields.map(([name, value]) => `${name}=${quoted(oneLine(String(bounded(value))))}`);
  const time = new Date().toTimeString().slice(0, 8);
  const painted = (colour: (typeof COLOURS)[Level], text: string): string =>
    text && styleText(colour, text, { stream: process.stderr });
  const parts = [time, painted(COLOURS[level], level.padEnd(5)), message, painted('dim', details.join(' '))];
  return `${parts.filter(Boolean).join(' ')}\n`;
}

const COLOURS = { debug: 'dim', info: 'green', warn: 'yellow', error: 'red' } as const satisfies Record<
  Level,
  string
>;

const bounded = (value: string | number): string | number =>
  typeof value === 'string' && value.length > VALUE_LENGTH_MAX
    ? `${value.slice(0, VALUE_LENGTH_MAX)}…`
    : value;

/** Quotes a value where a reader could not see its end. */
const quoted = (text: string): string => (/[\s"=]/.test(text) || text === '' ? JSON.stringify(text) : text);
