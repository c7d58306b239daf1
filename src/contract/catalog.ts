import type { Offer, Sku } from './control.ts';

/** One version of a model that can be deployed. Built in, or from `models:` of the configuration. */
export interface CatalogModel {
  readonly name: string;
  /** Null: it is a model of the operator's own, which has no version. */
  readonly version: string | null;
  /** Whether a deployment that names no version gets this one. One version of each name is the default. */
  readonly isDefault: boolean;
  readonly inputs: readonly ('text' | 'image')[];
  /** The regions of each SKU. An absent SKU cannot be deployed. */
  readonly regions: Readonly<Partial<Record<Sku, readonly string[] | 'everywhere'>>>;
  /** Enqueued tokens of a subscription in each region, by SKU and offer. Absent SKU: no quota. Null: it can have none. */
  readonly quotaTokens: Readonly<Partial<Record<Sku, Readonly<Partial<Record<Offer, number | null>>>>>>;
  /** USD per million tokens on a batch SKU; null: not known. */
  readonly batchPrice: { readonly input: number; readonly output: number } | null;
}
