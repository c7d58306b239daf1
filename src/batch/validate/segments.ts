import { SEGMENT_BYTES_MAX, SEGMENT_REQUESTS_MAX, type SegmentPlan } from '../../contract/inspection.ts';
import type { SourceLine } from '../../core/lines.ts';

/** Groups request lines into segments. A line that is larger than a segment may be gets a segment of its own. */
export class SegmentPlanner {
  readonly #segments: SegmentPlan[] = [];
  #firstLine = 0;
  #requests = 0;
  #byteStart = 0;
  #byteEnd = 0;

  add({ line, byteStart, byteLength }: Omit<SourceLine, 'bytes'>): void {
    const byteEnd = byteStart + byteLength;
    if (this.#requests === SEGMENT_REQUESTS_MAX || byteEnd - this.#byteStart > SEGMENT_BYTES_MAX)
      this.#close();
    if (this.#requests === 0) {
      this.#firstLine = line;
      this.#byteStart = byteStart;
    }
    this.#requests++;
    this.#byteEnd = byteEnd;
  }

  segments(): readonly SegmentPlan[] {
    this.#close();
    return this.#segments;
  }

  #close(): void {
    if (this.#requests === 0) return;
    this.#segments.push({
      firstLine: this.#firstLine,
      requests: this.#requests,
      byteStart: this.#byteStart,
      byteLength: this.#byteEnd - this.#byteStart,
    });
    this.#requests = 0;
  }
}
