import { isObject } from '../json.ts';
import { RequestError } from './request-error.ts';

export interface StrictSchema {
  /** The original names it like this: `response_format 'answer'`, `function 'search'`. */
  readonly what: string;
  readonly param: string;
  readonly code: string | null;
}

/** The original refuses deeper schemas for that alone. */
const DEPTH_MAX = 64;

/** The original asks of a schema with `strict: true` that every object is closed and requires all of its properties. */
export function checkStrict(schema: unknown, { what, param, code }: StrictSchema): void {
  const fault = isObject(schema)
    ? (rootFault(schema) ?? faultIn(schema, []))
    : 'schema must be a JSON Schema of \'type: "object"\', got \'type: "None"\'.';
  if (fault !== null) throw new RequestError(`Invalid schema for ${what}: ${fault}`, param, code);
}

function rootFault({ type, anyOf }: Readonly<Record<string, unknown>>): string | null {
  if (type === 'object' && anyOf === undefined) return null;
  return `schema must be a JSON Schema of 'type: "object"', got 'type: "${typeof type === 'string' ? type : 'None'}"'.`;
}

function faultIn(schema: unknown, path: readonly string[]): string | null {
  if (!isObject(schema) || path.length > DEPTH_MAX) return null;
  const { properties, items, anyOf, $defs, definitions, type } = schema;
  if (type === 'object' || properties !== undefined) {
    const fault = objectFault(schema);
    if (fault !== null) return `In context=${context(path)}, ${fault}`;
  }
  const inner: [string[], unknown][] = [[['items'], items]];
  for (const [name, held] of Object.entries({ properties, $defs, definitions }))
    if (isObject(held)) for (const [key, value] of Object.entries(held)) inner.push([[name, key], value]);
  if (Array.isArray(anyOf))
    for (const [index, value] of anyOf.entries()) inner.push([['anyOf', `${index}`], value]);
  for (const [steps, value] of inner) {
    const fault = faultIn(value, [...path, ...steps]);
    if (fault !== null) return fault;
  }
  return null;
}

function objectFault(schema: Readonly<Record<string, unknown>>): string | null {
  if (schema['additionalProperties'] !== false)
    return "'additionalProperties' is required to be supplied and to be false.";
  const names = isObject(schema['properties']) ? Object.keys(schema['properties']) : [];
  const required: readonly unknown[] = Array.isArray(schema['required']) ? schema['required'] : [];
  const rule = "'required' is required to be supplied and to be an array including every key in properties.";
  const absent = names.find((name) => !required.includes(name));
  if (absent !== undefined) return `${rule} Missing '${absent}'.`;
  const extra = required.find((name) => typeof name === 'string' && !names.includes(name));
  return typeof extra === 'string' ? `${rule} Extra required key '${extra}' supplied.` : null;
}

/** Writes the path as Python writes a tuple. */
const context = (path: readonly string[]): string =>
  `(${path.map((step) => `'${step}'`).join(', ')}${path.length === 1 ? ',' : ''})`;
