import type { BatchEndpoint, BatchError, BatchErrors } from './batch.ts';
import type { Dialect } from './error.ts';

/** A run of consecutive lines of the input that one worker claims at a time. Blank lines may lie inside. */
export interface SegmentPlan {
  /** 1-based physical line number of the first request. */
  readonly firstLine: number;
  /** Requests in it (blank lines not counted). */
  readonly requests: number;
  readonly byteStart: number;
  readonly byteLength: number;
}

/** A fault of the input in Azure's words, and in OpenAI's where those differ; null: OpenAI has no such entry. */
export interface InputFault extends BatchError {
  readonly openai?: Pick<BatchError, 'code' | 'message'> | null;
}

/** What is wrong with a line, before it is known which it is. */
export type FaultOfLine = Omit<InputFault, 'line'>;

export interface InputFaults {
  /** At most `BATCH_ERRORS_MAX`: what is wrong with the whole file, then its lines in order. */
  readonly data: readonly InputFault[];
  /** How many more there were. */
  readonly omitted: number;
}

export const toldIn = (dialect: Dialect, { data, omitted }: InputFaults): BatchErrors => ({
  data: data.flatMap(({ openai, ...azure }) => {
    if (dialect === 'azure' || openai === undefined) return azure;
    return openai === null ? [] : { ...azure, ...openai };
  }),
  omitted,
});

/** Lines one below the other: the first, and how many. */
export type LineRun = readonly [first: number, count: number];

/** The requests that ask one url for one model. */
export interface LineGroup {
  readonly url: BatchEndpoint;
  /** Null: they have no valid one. */
  readonly model: string | null;
  readonly requests: number;
  /** How many of them have a fault of their own. */
  readonly faulty: number;
  /** Where the first `BATCH_ERRORS_MAX` of them are. */
  readonly lines: readonly LineRun[];
}

/** All that one pass over an input file finds out. The same bytes always give the same inspection. */
export interface Inspection {
  readonly requests: number;
  /** Estimated input tokens. */
  readonly tokens: number;
  /** The first valid `body.model`; null when no line has one. */
  readonly model: string | null;
  /** In the order of their first lines, `LINE_GROUPS_MAX` at most. A file that can be run has one. */
  readonly groups: readonly LineGroup[];
  /** Every line that is bad by itself; null when there is none. */
  readonly errors: InputFaults | null;
  /** Lines that carry images, which not every model takes: the first `IMAGE_LINES_MAX`, and how many more there are. */
  readonly imageLines: readonly number[];
  readonly imageLinesOmitted: number;
  /** Empty when there are errors. */
  readonly segments: readonly SegmentPlan[];
}

/** Small enough that a crash puts few requests in doubt, large enough that claims cost little. */
export const SEGMENT_REQUESTS_MAX = 64;
export const SEGMENT_BYTES_MAX = 1024 * 1024;

/** A file has one, or a few by mistake; a line of a further one is told that it differs from the first. */
export const LINE_GROUPS_MAX = 32;

/** As many as a batch lists errors: each of them becomes one where the model takes no images. */
export const IMAGE_LINES_MAX = 1_000;
