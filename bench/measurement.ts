/** A figure of ours beside a yardstick of the same run. On a shared machine only their ratio means anything. */
export interface Measurement {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly yardstick: number;
  /** `ours / yardstick`. */
  readonly ratio: number;
  /** The ratio must reach this, or must not pass it. */
  readonly goal?: { readonly ratio: number; readonly at: 'least' | 'most' };
}

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
