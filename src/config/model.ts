import { z } from 'zod';
import type { CatalogModel } from '../contract/catalog.ts';
import { ENQUEUED_TOKENS_MAX, OFFERS, SKUS } from '../contract/control.ts';
import { count, each, flag, mapping, name, oneOf, price, region, text, textOr } from './values.ts';

const everywhere = oneOf('everywhere').schema;
const regions = textOr(everywhere, each(region.schema, 'region'));
/** The offer gives this quota. `none`: it gives none. */
const tokens = z.preprocess(
  (raw) => (raw === 'none' ? null : raw),
  count(1, ENQUEUED_TOKENS_MAX).schema.nullable(),
);

const by = <const Key extends string, T>(keys: readonly Key[], schema: z.ZodType<T>) =>
  // One property for each of the keys.
  mapping(
    Object.fromEntries(keys.map((key) => [key, schema.optional()])) as Record<
      Key,
      z.ZodOptional<z.ZodType<T>>
    >,
  );

/** An entry of the catalog. It takes the place of a built-in one with the same name and version. */
export const model = mapping({
  name: text.schema,
  version: text.schema.optional(),
  /** A deployment that names no version gets this one. */
  default: flag.schema.optional(),
  inputs: each(oneOf('text', 'image').schema, 'of text, image').optional(),
  /** Where it can be had. When omitted: everywhere, with every SKU. */
  regions: textOr(everywhere, by(SKUS, regions)).optional(),
  /** Tokens per subscription and region, by SKU and offer. When omitted: no limit. */
  quota: by(SKUS, by(OFFERS, tokens)).optional(),
  price: mapping({ input: price.schema, output: price.schema }).optional(),
});
type ModelEntry = z.output<typeof model>;

/** A region belongs to one zone. */
export const dataZones = z.record(name.schema, each(region.schema, 'region'), {
  error: 'expected `zone: [region, …]` lines',
});

export function resolveModel(entry: ModelEntry): CatalogModel {
  const regions = entry.regions ?? 'everywhere';
  return {
    name: entry.name,
    version: entry.version ?? null,
    isDefault: entry.default ?? false,
    inputs: entry.inputs ?? ['text', 'image'],
    regions:
      regions === 'everywhere'
        ? Object.fromEntries(SKUS.map((sku) => [sku, 'everywhere'] as const))
        : regions,
    quotaTokens: entry.quota ?? {},
    batchPrice: entry.price ?? null,
  };
}
