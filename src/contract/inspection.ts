import type { BatchEndpoint, BatchError, BatchErrors } from './batch.ts';
import type { Dialect } from './error.ts';

/** A run of consecutive lines of the input that one worker claims at a time. It may have blank lines. */
export interface SegmentPlan {
  /** Physical line of the first request, from 1. */
  readonly firstLine: number;
  /** Its requests. Blank lines do not count. */
  readonly requests: number;
  readonly byteStart: number;
  readonly byteLength: number;
}

/** A fault of the input in Azure's words, and in OpenAI's where they differ. Null: OpenAI does not list such a fault. */
export interface InputFault extends BatchError {
  readonly openai?: Pick<BatchError, 'code' | 'message'> | null;
}

/** A fault of a line whose number is not known yet. */
export type FaultOfLine = Omit<InputFault, 'line'>;

export interface InputFaults {
  /** At most `BATCH_ERRORS_MAX`: faults of the whole file first, then those of its lines in order. */
  readonly data: readonly InputFault[];
  /** How many more faults there were. */
  readonly omitted: number;
}

export const inDialect = (dialect: Dialect, { data, omitted }: InputFaults): BatchErrors => ({
  data: data.flatMap(({ openai, ...azure }) => {
    if (dialect === 'azure' || openai === undefined) return azure;
    return openai === null ? [] : { ...azure, ...openai };
  }),
  omitted,
});

/** Consecutive lines: the first, and how many there are. */
export type LineRun = readonly [first: number, count: number];

/** The requests with one url and one model. */
export interface LineGroup {
  readonly url: BatchEndpoint;
  /** Null: the requests have no valid model. */
  readonly model: string | null;
  readonly requests: number;
  /** How many of these requests have a fault of their own. */
  readonly faulty: number;
  /** Lines of the first `BATCH_ERRORS_MAX` requests. */
  readonly lines: readonly LineRun[];
}

/** What one pass over an input file finds. The same bytes always give the same inspection. */
export interface Inspection {
  readonly requests: number;
  /** Estimated input tokens. */
  readonly tokens: number;
  /** The first valid `body.model`. Null: no line has one. */
  readonly model: string | null;
  /** `LINE_GROUPS_MAX` at most, in the order of their first lines. A valid file has one. */
  readonly groups: readonly LineGroup[];
  /** The faults of lines, as far as a line shows them by itself. Null: there are none. */
  readonly errors: InputFaults | null;
  /** The first `IMAGE_LINES_MAX` lines with images, and how many more there are. Not every model takes images. */
  readonly imageLines: readonly number[];
  readonly imageLinesOmitted: number;
  /** Empty when the file has faults. */
  readonly segments: readonly SegmentPlan[];
}

/** Segments are small, so that a crash puts few requests in doubt, and large enough that claims cost little. */
export const SEGMENT_REQUESTS_MAX = 64;
export const SEGMENT_BYTES_MAX = 1024 * 1024;

/** A valid file has one group. A line of any further group has the fault that it differs from the first. */
export const LINE_GROUPS_MAX = 32;

/** The number of errors that a batch lists: each of these lines becomes an error when the model takes no images. */
export const IMAGE_LINES_MAX = 1_000;
