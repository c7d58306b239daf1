import { grouped, oneLine } from './terminal.ts';

/** How far a batch is. */
export interface Progress {
  readonly status: string;
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
  /** Null: not known. */
  readonly requestsPerSecond: number | null;
  readonly etaS: number | null;
  /** Why it does not move. */
  readonly waiting: string | null;
}

export interface ProgressView {
  show(progress: Progress): void;
  /** Leaves the last state standing, so that lines after it start clean. */
  end(): void;
}

type Stream = Pick<NodeJS.WriteStream, 'write'> & { readonly isTTY?: boolean; readonly columns?: number };

const LINE_EVERY_MS = 5_000;
const BAR_CELLS = 24;

/** One bar that moves on a terminal; elsewhere a plain line when the status changes and every few seconds. */
export function createProgressView(
  stream: Stream = process.stderr,
  nowMs: () => number = () => performance.now(),
): ProgressView {
  return stream.isTTY ? barView(stream) : lineView(stream, nowMs);
}

function barView(stream: Stream): ProgressView {
  let shown = false;
  return {
    show(progress) {
      const line = [bar(progress), ...facts(progress)].join('  ');
      stream.write(`\r${line.slice(0, (stream.columns || 80) - 1)}\u001B[K`);
      shown = true;
    },
    end() {
      if (shown) stream.write('\n');
      shown = false;
    },
  };
}

function lineView(stream: Stream, nowMs: () => number): ProgressView {
  let last: { status: string; waiting: string | null; atMs: number } | null = null;
  return {
    show(progress) {
      const atMs = nowMs();
      const { status, waiting } = progress;
      const news = last?.status !== status || last.waiting !== waiting;
      if (!news && last !== null && atMs - last.atMs < LINE_EVERY_MS) return;
      last = { status, waiting, atMs };
      stream.write(`${[status, ...facts(progress)].join(', ')}\n`);
    },
    end() {},
  };
}

function bar({ status, total, completed, failed }: Progress): string {
  const share = total === 0 ? 0 : (completed + failed) / total;
  const full = Math.round(share * BAR_CELLS);
  return `${status.padEnd(11)} ${'█'.repeat(full)}${'░'.repeat(BAR_CELLS - full)} ${String(Math.floor(share * 100)).padStart(3)}%`;
}

function facts({ total, completed, failed, requestsPerSecond, etaS, waiting }: Progress): string[] {
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
    // A service that says so in a sentence of its own is not made to stutter.
    ...(waiting ? [/^waits? /i.test(waiting) ? oneLine(waiting) : `waiting: ${oneLine(waiting)}`] : []),
  ];
}

/** `75` → `1m15s`. */
export function shortTime(seconds: number): string {
  const whole = Math.ceil(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return `${h}h${String(m).padStart(2, '0')}m`;
  return m > 0 ? `${m}m${String(s).padStart(2, '0')}s` : `${s}s`;
}
