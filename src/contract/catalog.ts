import type { Offer, Sku } from './control.ts';

/** One version of a model that can be deployed. Built in, or from `models:` of the configuration. */
export interface CatalogModel {
  readonly name: string;
  /** Null: the operator's own model, which has none. */
  readonly version: string | null;
  /** What a deployment gets that names no version. One version per name is. */
  readonly isDefault: boolean;
  readonly inputs: readonly ('text' | 'image')[];
  /** Where each SKU can be had; an absent SKU cannot be deployed, `everywhere` has no list. */
  readonly regions: Readonly<Partial<Record<Sku, readonly string[] | 'everywhere'>>>;
  /** Enqueued tokens that a subscription has per region, by SKU and offer. An absent SKU has no quota, null has none to give. */
  readonly quotaTokens: Readonly<Partial<Record<Sku, Readonly<Partial<Record<Offer, number | null>>>>>>;
  /** USD per million tokens on a batch SKU; null: not known. */
  readonly batchPrice: { readonly input: number; readonly output: number } | null;
}
