import { isObject, type JsonObject } from '../json.ts';
import { samplePattern } from './pattern.ts';
import { between, pick, type Random } from './random.ts';
import { RequestError } from './request-error.ts';

type Schema = JsonObject;

/**
 * Makes a value that satisfies a JSON schema, within what structured outputs allow: objects, arrays, enum, const, formats,
 * patterns, ranges, anyOf, allOf, $ref and recursion. Throws `RequestError` for a schema that it cannot satisfy.
 */
export function sampleSchema(schema: unknown, random: Random): unknown {
  return new Sampler(schema, random).sample(schema, 0);
}

/** Values have limits, as schemas come from strangers and a short one can describe a huge value. */
const VALUES_MAX = 5_000;
const DEPTH_MAX = 64;
const STRING_LENGTH_MAX = 100_000;
/** Below this depth only required parts are made, so that recursion ends. */
const DEPTH_FULL = 4;

class Sampler {
  readonly #root: unknown;
  readonly #random: Random;
  #valuesLeft = VALUES_MAX;
  #charactersLeft = STRING_LENGTH_MAX;

  constructor(root: unknown, random: Random) {
    this.#root = root;
    this.#random = random;
  }

  sample(schema: unknown, depth: number): unknown {
    if (--this.#valuesLeft < 0) throw fault(`describes a value of more than ${VALUES_MAX} parts`);
    if (depth > DEPTH_MAX) throw fault(`nests deeper than ${DEPTH_MAX} levels`);
    if (schema === true || schema === undefined) return 'simulated';
    if (!isObject(schema)) throw fault('has a part that is neither an object nor true');
    if (typeof schema['$ref'] === 'string') return this.sample(this.#follow(schema['$ref']), depth + 1);
    if ('const' in schema) return schema['const'];
    if (isList(schema['enum'])) return pick(this.#random, schema['enum']);
    const choices = schema['anyOf'] ?? schema['oneOf'];
    if (isList(choices))
      return this.sample(merge(without(schema, 'anyOf', 'oneOf'), this.#choose(choices, depth)), depth + 1);
    if (isList(schema['allOf'])) {
      const parts = schema['allOf'].map((part) => this.#resolve(part));
      return this.sample(parts.reduce(merge, without(schema, 'allOf')), depth + 1);
    }
    return this.#sampleType(schema, depth);
  }

  #sampleType(schema: Schema, depth: number): unknown {
    const type = this.#typeOf(schema, depth);
    switch (type) {
      case 'object':
        return this.#object(schema, depth);
      case 'array':
        return this.#array(schema, depth);
      case 'string':
        return this.#string(schema);
      case 'integer':
      case 'number':
        return sampleNumber(schema, type === 'integer', this.#random);
      case 'boolean':
        return this.#random() < 0.5;
      case 'null':
        return null;
      default:
        throw fault(`has the unknown type ${JSON.stringify(type)}`);
    }
  }

  #typeOf(schema: Schema, depth: number): unknown {
    const { type } = schema;
    if (isList(type)) return depth >= DEPTH_FULL && type.includes('null') ? 'null' : type[0];
    if (type !== undefined) return type;
    if ('properties' in schema || 'required' in schema) return 'object';
    if ('items' in schema || 'prefixItems' in schema) return 'array';
    if ('minimum' in schema || 'maximum' in schema || 'multipleOf' in schema) return 'number';
    return 'string';
  }

  #object(schema: Schema, depth: number): unknown {
    const properties = isObject(schema['properties']) ? schema['properties'] : {};
    const required = new Set(isList(schema['required']) ? schema['required'].map(String) : []);
    const named = Object.keys(properties).filter((name) => depth < DEPTH_FULL || required.has(name));
    const names = new Set([...named, ...required]);
    const namesMin = sizeOf(schema['minProperties'], 0);
    const optional = Object.keys(properties).filter((name) => !names.has(name));
    for (const name of optional.slice(0, Math.max(0, namesMin - names.size))) names.add(name);
    for (let n = 1; names.size < namesMin && n <= VALUES_MAX; n++) names.add(`property${n}`);
    // `fromEntries` also makes a property called `__proto__`.
    return Object.fromEntries(
      [...names].map((name) => [
        name,
        this.sample(
          Object.hasOwn(properties, name) ? properties[name] : schema['additionalProperties'],
          depth + 1,
        ),
      ]),
    );
  }

  #array(schema: Schema, depth: number): unknown[] {
    const prefix = isList(schema['prefixItems']) ? schema['prefixItems'] : [];
    const min = sizeOf(schema['minItems'], 0);
    const max = sizeOf(schema['maxItems'], Math.max(min, prefix.length, 3));
    const some =
      schema['items'] === false ? prefix.length : Math.max(prefix.length, between(this.#random, 1, 3));
    const wanted = Math.min(max, Math.max(min, depth < DEPTH_FULL ? some : 0));
    const values: unknown[] = [];
    const seen = new Set<string>();
    for (let tries = 0; values.length < wanted && tries < wanted * 20; tries++) {
      const value = this.sample(prefix[values.length] ?? schema['items'], depth + 1);
      if (schema['uniqueItems'] === true && seen.size === seen.add(JSON.stringify(value)).size) continue;
      values.push(value);
    }
    if (values.length < min) throw fault(`asks for ${min} different items and allows fewer`);
    return values;
  }

  #string(schema: Schema): string {
    const min = sizeOf(schema['minLength'], 0);
    const max = sizeOf(schema['maxLength'], Math.max(min, 200));
    if (min > max) throw fault(`asks for a string of at least ${min} and at most ${max} characters`);
    this.#charactersLeft -= min;
    if (this.#charactersLeft < 0)
      throw fault(`describes strings of more than ${STRING_LENGTH_MAX} characters`);
    if (typeof schema['pattern'] === 'string') return this.#matching(schema['pattern'], min, max);
    const formatted =
      typeof schema['format'] === 'string' ? sampleFormat(schema['format'], this.#random) : undefined;
    const text = formatted ?? pick(this.#random, WORDS);
    return text.padEnd(min, ' simulated').slice(0, max);
  }

  #matching(pattern: string, min: number, max: number): string {
    for (let tries = 0; tries < 200; tries++) {
      const text = samplePattern(pattern, this.#random, tries < 20 ? 3 : Math.min(min, 1_000));
      if (text.length >= min && text.length <= max) return text;
    }
    throw fault(`has a pattern and a length that are hard to meet together: ${pattern.slice(0, 100)}`);
  }

  /** Below the depth limit the simplest choice is taken, above it any. */
  #choose(choices: List, depth: number): Schema {
    const schemas = choices.map((choice) => this.#resolve(choice));
    if (depth < DEPTH_FULL) return schemas[Math.floor(this.#random() * schemas.length)] ?? {};
    return schemas.reduce((simplest, schema) => (rank(schema) < rank(simplest) ? schema : simplest));
  }

  #resolve(schema: unknown): Schema {
    let target = schema;
    for (let hops = 0; isObject(target) && typeof target['$ref'] === 'string'; hops++) {
      if (hops > DEPTH_MAX) throw fault('has a $ref that leads to itself');
      target = this.#follow(target['$ref']);
    }
    if (target === true) return {};
    if (!isObject(target)) throw fault('has a part that is neither an object nor true');
    return target;
  }

  #follow(ref: string): unknown {
    if (!ref.startsWith('#')) throw fault(`refers to ${JSON.stringify(ref.slice(0, 100))}, outside itself`);
    let target: unknown = this.#root;
    for (const step of ref.split('/').slice(1)) {
      const name = decodeURIComponent(step).replaceAll('~1', '/').replaceAll('~0', '~');
      target =
        typeof target === 'object' && target !== null && Object.hasOwn(target, name)
          ? Reflect.get(target, name)
          : undefined;
    }
    if (target === undefined)
      throw fault(`refers to ${JSON.stringify(ref.slice(0, 100))}, which is not there`);
    return target;
  }
}

function sampleNumber(schema: Schema, whole: boolean, random: Random): number {
  const inclusiveMin = numberOf(schema['minimum'], -Infinity);
  const inclusiveMax = numberOf(schema['maximum'], Infinity);
  const exclusiveMin = numberOf(schema['exclusiveMinimum'], -Infinity);
  const exclusiveMax = numberOf(schema['exclusiveMaximum'], Infinity);
  const fits = (value: number) =>
    value >= inclusiveMin && value <= inclusiveMax && value > exclusiveMin && value < exclusiveMax;
  const step = numberOf(schema['multipleOf'], whole ? 1 : 0);
  let low = Math.max(inclusiveMin, exclusiveMin);
  let high = Math.min(inclusiveMax, exclusiveMax);
  if (low === -Infinity) low = Math.min(0, high === Infinity ? 0 : high - 100 * (step || 1));
  if (high === Infinity) high = low + 100 * (step || 1);
  for (let tries = 0; tries < 100; tries++) {
    // The ends are tried first, as a range may hold nothing else.
    const raw =
      tries === 0
        ? low + (high - low) * random()
        : tries === 1
          ? low
          : tries === 2
            ? high
            : low + (high - low) * random();
    const candidates = step > 0 ? [Math.round(raw / step) * step] : [Math.round(raw * 100) / 100, raw];
    const value = candidates.find(
      (candidate) =>
        fits(candidate) &&
        (step === 0 || Number.isInteger(candidate / step)) &&
        (!whole || Number.isInteger(candidate)),
    );
    if (value !== undefined) return value;
  }
  throw fault(`asks for a number from ${low} to ${high} that it does not allow`);
}

function sampleFormat(format: string, random: Random): string | undefined {
  const digits = (count: number) => String(between(random, 0, 10 ** count - 1)).padStart(count, '0');
  const hex = (count: number) =>
    Math.floor(random() * 16 ** count)
      .toString(16)
      .padStart(count, '0');
  const date = () => `20${digits(2)}-0${between(random, 1, 9)}-1${digits(1)}`;
  const time = () => `1${digits(1)}:${between(random, 10, 59)}:${between(random, 10, 59)}Z`;
  switch (format) {
    case 'date-time':
      return `${date()}T${time()}`;
    case 'date':
      return date();
    case 'time':
      return time();
    case 'duration':
      return `P${between(random, 1, 30)}DT${between(random, 1, 23)}H`;
    case 'email':
      return `simulated.${digits(4)}@example.com`;
    case 'hostname':
      return `host-${digits(4)}.example.com`;
    case 'ipv4':
      return `192.0.2.${between(random, 1, 254)}`;
    case 'ipv6':
      return `2001:db8::${hex(4)}`;
    case 'uuid':
      return `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`;
    case 'uri':
      return `https://example.com/simulated/${digits(4)}`;
    default:
      return undefined;
  }
}

const WORDS = ['simulated', 'a simulated value', 'sample', 'made up', 'for example'] as const;

function rank(schema: Schema): number {
  if ('const' in schema || 'enum' in schema) return 1;
  const { type } = schema;
  if (type === 'null' || (Array.isArray(type) && type.includes('null'))) return 0;
  if (type === 'object' || type === undefined) return 4;
  return type === 'array' ? 3 : 2;
}

/** Joins two schemas that must both hold: their properties and required names together, and for the rest the later one's. */
function merge(first: Schema, second: Schema): Schema {
  const merged: Record<string, unknown> = { ...first, ...second };
  for (const key of ['properties', '$defs'])
    if (isObject(first[key]) && isObject(second[key])) merged[key] = { ...first[key], ...second[key] };
  if (isList(first['required']) && isList(second['required']))
    merged['required'] = [...first['required'], ...second['required']];
  return merged;
}

const without = (schema: Schema, ...keys: string[]): Schema =>
  Object.fromEntries(Object.entries(schema).filter(([key]) => !keys.includes(key)));

type List = readonly [unknown, ...unknown[]];
const isList = (value: unknown): value is List => Array.isArray(value) && value.length > 0;
const numberOf = (value: unknown, otherwise: number): number =>
  typeof value === 'number' ? value : otherwise;
const sizeOf = (value: unknown, otherwise: number): number =>
  typeof value === 'number' && value >= 0 ? Math.ceil(value) : otherwise;

const fault = (what: string): RequestError =>
  new RequestError(
    `The simulator cannot satisfy this JSON schema: it ${what}.`,
    'response_format',
    'invalid_json_schema',
  );
