import { fitted, grouped, oneLine } from './print.ts';
import { displayWidth, wrap } from './width.ts';

/** How far a batch is. */
export interface Progress {
  readonly status: string;
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
  /** These two are null while they are not known. */
  readonly requestsPerSecond: number | null;
  readonly etaS: number | null;
  /** Why the batch does not move; null: it moves. */
  readonly waiting: string | null;
  /** It waits only for a few more tries of its last lines. */
  readonly endsByItself?: boolean;
}

export interface ProgressView {
  show(progress: Progress): void;
  /** Prints a line that the next progress does not overwrite. */
  say(line: string): void;
  /** Keeps the last state on the screen. Lines after it begin on a new line. */
  end(): void;
}

type Stream = Pick<NodeJS.WriteStream, 'write'> & { readonly isTTY?: boolean; readonly columns?: number };

const LINE_EVERY_MS = 60_000;
const BAR_CELLS = { min: 8, max: 40 } as const;

/** Shows a bar on a terminal. Elsewhere it prints a line when the status changes, at each tenth, and every minute. */
export function createProgressView(
  stream: Stream = process.stderr,
  nowMs: () => number = () => performance.now(),
): ProgressView {
  return stream.isTTY && process.env['TERM'] !== 'dumb' ? barView(stream) : lineView(stream, nowMs);
}

/** Draws each state over the last one. */
function barView(stream: Stream): ProgressView {
  let drawn: readonly string[] = [];
  const clear = () => {
    const width = widthOf(stream);
    // A terminal that became narrower has broken the lines.
    const rows = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(displayWidth(line) / width)), 0);
    const up = rows > 1 ? `\u001B[${rows - 1}A` : '';
    return drawn.length > 0 ? `\r${up}\u001B[J` : '';
  };
  return {
    show(progress) {
      const lines = frame(progress, widthOf(stream));
      stream.write(clear() + lines.join('\n'));
      drawn = lines;
    },
    say(line) {
      stream.write(`${clear()}${fitted(line, widthOf(stream))}\n${drawn.join('\n')}`);
    },
    end() {
      if (drawn.length > 0) stream.write('\n');
      drawn = [];
    },
  };
}

/** The last columns stay free for the `^C` of a person. Some terminals also break a line that fills the last column. */
const widthOf = ({ columns }: Stream): number => Math.max(20, (columns || 80) - 3);

/** The state with its bar; its figures, beside the bar if they fit, else below; then why the batch waits. */
export function frame(progress: Progress, width: number): string[] {
  const head = progress.status;
  const percent = percentOf(progress);
  const figures = figuresOf(progress);
  const taken = displayWidth(head) + percent.length + 2;
  const all = figures.map((figure) => `  ${figure}`).join('');
  const isOneLine = taken + BAR_CELLS.min + displayWidth(all) <= width;
  const free = width - taken - (isOneLine ? displayWidth(all) : 0);
  const cells = Math.max(1, Math.min(BAR_CELLS.max, free));
  const line = `${head} ${bar(progress, cells)} ${percent}${isOneLine ? all : ''}`;
  const below = isOneLine ? [] : wrap(figures.join(', '), width);
  return [
    line,
    ...below.filter(Boolean),
    ...(progress.waiting ? wrap(waitingLine(progress.waiting), width) : []),
  ];
}

function lineView(stream: Stream, nowMs: () => number): ProgressView {
  let last: { status: string; tenth: number; atMs: number } | null = null;
  let reason: string | null = null;
  return {
    show(progress) {
      const atMs = nowMs();
      const { status, waiting } = progress;
      const tenth = Math.floor(shareOf(progress) * 10);
      const isDue = last === null || atMs - last.atMs >= LINE_EVERY_MS;
      // A reason that comes and goes is printed once.
      const isNewReason = waiting !== null && reason === null;
      if (last?.status === status && last.tenth === tenth && !isDue && !isNewReason) return;
      last = { status, tenth, atMs };
      reason = waiting ?? (isDue ? null : reason);
      stream.write(`${[status, ...figuresOf(progress)].join(', ')}\n`);
      if (waiting !== null) stream.write(`  ${waitingLine(waiting)}\n`);
    },
    say(line) {
      stream.write(`${line}\n`);
    },
    end() {},
  };
}

const shareOf = ({ total, completed, failed }: Progress): number =>
  total === 0 ? 0 : (completed + failed) / total;

const percentOf = (progress: Progress): string => `${Math.floor(shareOf(progress) * 100)}%`.padStart(4);

function bar(progress: Progress, cells: number): string {
  const full = Math.round(shareOf(progress) * cells);
  return '█'.repeat(full) + '░'.repeat(cells - full);
}

function figuresOf({ total, completed, failed, requestsPerSecond, etaS }: Progress): string[] {
  const done = completed + failed;
  const rate =
    requestsPerSecond && requestsPerSecond < 10
      ? requestsPerSecond.toFixed(1)
      : grouped(Math.round(requestsPerSecond ?? 0));
  return [
    ...(total > 0 ? [`${grouped(done)}/${grouped(total)}`] : []),
    ...(requestsPerSecond ? [`${rate}/s`] : []),
    ...(etaS !== null && done < total ? [`ETA ${shortTime(etaS)}`] : []),
    ...(failed > 0 ? [`${grouped(failed)} failed`] : []),
  ];
}

/** A service may begin its sentence with `Waits`, which needs no `waiting:` before it. */
function waitingLine(waiting: string): string {
  const text = oneLine(waiting).trim();
  return /^waits? /i.test(text) ? text : `waiting: ${text}`;
}

/** `75` → `1m15s`. */
export function shortTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return `${h}h${String(m).padStart(2, '0')}m`;
  return m > 0 ? `${m}m${String(s).padStart(2, '0')}s` : `${s}s`;
}
