export type JsonObject = Readonly<Record<string, unknown>>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Returns undefined when it is no JSON object. */
export const asObject = (value: unknown): JsonObject | undefined => (isObject(value) ? value : undefined);
