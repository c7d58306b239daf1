import type { BatchEndpoint, BatchErrors } from './batch.ts';

/** A run of consecutive lines of the input that one worker claims at a time. Blank lines may lie inside. */
export interface SegmentPlan {
  /** 1-based physical line number of the first request. */
  readonly firstLine: number;
  /** Requests in it (blank lines not counted). */
  readonly requests: number;
  readonly byteStart: number;
  readonly byteLength: number;
}

/** All that one pass over an input file finds out. The same bytes always give the same inspection. */
export interface Inspection {
  readonly requests: number;
  /** Estimated input tokens. */
  readonly tokens: number;
  /** The common `body.model`; null when no line has a valid one. */
  readonly model: string | null;
  /** The common `url` without `/v1`; null when no line has a valid one. */
  readonly url: BatchEndpoint | null;
  /** Line of the first request that carries `model` and `url`; 0 when there is none. */
  readonly firstLine: number;
  /** Every bad line; null when the file can be run. */
  readonly errors: BatchErrors | null;
  /** Lines that carry images, which not every model takes: the first `IMAGE_LINES_MAX`, and how many more there are. */
  readonly imageLines: readonly number[];
  readonly imageLinesOmitted: number;
  /** Empty when there are errors. */
  readonly segments: readonly SegmentPlan[];
}

/** Small enough that a crash puts few requests in doubt, large enough that claims cost little. */
export const SEGMENT_REQUESTS_MAX = 64;
export const SEGMENT_BYTES_MAX = 1024 * 1024;

/** As many as a batch lists errors: each of them becomes one where the model takes no images. */
export const IMAGE_LINES_MAX = 1_000;
