/** The surfaces of the data plane: their dialects, and what their api-versions have. Source: docs/contract.md §1. */
import type { Dialect } from '../../contract/error.ts';

export interface Surface {
  readonly dialect: Dialect;
  /** Where the caller found the API, for `Location`. */
  readonly root: string;
  /** `?api-version=…` on the surfaces that have one. */
  readonly query: string;
  readonly createStatus: 200 | 201;
  readonly uploadStatus: 200 | 201;
  /** `deployment-enqueued-tokens` on create. */
  readonly tokenHeaders: boolean;
  /** `$filter` and `$orderby`. The original ignores what a version does not have. */
  readonly filters: boolean;
  /** `expires_after` on upload. */
  readonly fileExpiry: boolean;
  /** `output_expires_after` on create. */
  readonly outputExpiry: boolean;
}

/** An api-version starts with its date, so versions compare as text. */
export const classic = (root: string, version: string): Surface => ({
  dialect: 'azure',
  root,
  query: `?api-version=${version}`,
  createStatus: version >= '2024-12-01' ? 201 : 200,
  uploadStatus: 201,
  tokenHeaders: version >= '2024-10-01',
  filters: version >= '2024-10-01',
  fileExpiry: version >= '2025-03-01',
  outputExpiry: version >= '2025-04-01',
});

const everything = { query: '', tokenHeaders: true, filters: true, fileExpiry: true, outputExpiry: true };

export const azureV1 = (root: string): Surface => ({
  ...everything,
  dialect: 'azure',
  root,
  createStatus: 201,
  uploadStatus: 201,
});

export const openai = (root: string): Surface => ({
  ...everything,
  dialect: 'openai',
  root,
  createStatus: 200,
  uploadStatus: 200,
});
