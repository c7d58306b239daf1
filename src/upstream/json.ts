export type JsonObject = Readonly<Record<string, unknown>>;

/** Undefined: not a JSON object. */
export const asObject = (value: unknown): JsonObject | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
