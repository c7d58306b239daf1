import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { BATCH_ENDPOINTS } from '../../contract/batch.ts';
import { closest } from '../../core/suggest.ts';

/** The rules of a behaviour file. The first one that matches a request decides. */
export type Behaviour = readonly Rule[];

/** The file has faults. The message has a line for each, with its place in the file. */
export class BehaviourError extends Error {
  override name = 'BehaviourError';
  readonly faults: readonly string[];
  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.faults = faults;
  }
}

/** Throws `BehaviourError` for what is no behaviour. Errors of the file system pass through. */
export async function readBehaviour(path: string): Promise<Behaviour> {
  return parseBehaviour(await readFile(path, 'utf8'));
}

/** The text is YAML. JSON is YAML too. */
export function parseBehaviour(text: string): Behaviour {
  const document = parseDocument(text);
  if (document.errors.length > 0)
    throw new BehaviourError(document.errors.map(({ message }) => message.split('\n')[0] ?? message));
  const parsed = behaviour.safeParse(document.toJS() ?? []);
  if (parsed.success) return parsed.data;
  throw new BehaviourError(parsed.error.issues.map(({ path, message }) => `${placeOf(path)}${message}`));
}

function placeOf([rule, ...rest]: readonly PropertyKey[]): string {
  if (typeof rule !== 'number') return '';
  const place = rest.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('');
  return `rule ${rule + 1}: ${place === '' ? '' : `${place.slice(1)}: `}`;
}

/** A range includes `from` and `to`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

const RANGE = /^(\d+(?:\.\d+)?)?(\.\.)?(\d+(?:\.\d+)?)?$/;
const range = z.union([z.number(), z.string()]).transform((given, context): Range => {
  const [, from, dots, to] = RANGE.exec(String(given).replaceAll(' ', '')) ?? [];
  if (from === undefined && to === undefined) {
    context.addIssue('expected a number, or a range such as 2..5, 51.. or ..10');
    return z.NEVER;
  }
  if (dots === undefined) return { from: Number(from), to: Number(from) };
  const [first, last] = [Number(from ?? 0), to === undefined ? Infinity : Number(to)];
  if (first > last) context.addIssue(`${first}..${last} ends before it begins`);
  return { from: first, to: last };
});

const UNITS_MS: Readonly<Record<string, number>> = { '': 1_000, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
/** Returns milliseconds. A bare number is in seconds, as everywhere. */
const duration = z.union([z.number(), z.string()]).transform((given, context): number => {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?) ?(ms|s|m|h)?$/.exec(String(given)) ?? [];
  if (number !== undefined) return Number(number) * (UNITS_MS[unit] ?? 1);
  context.addIssue('expected a duration like 500ms, 30s or 2m');
  return z.NEVER;
});

const TEXTS = 'a text, or a list of texts';
const listOf = <T extends z.ZodType>(item: T, expected: string) =>
  z
    .union([item, z.array(item).min(1)], { error: `expected ${expected}` })
    .transform((given) => (Array.isArray(given) ? given : [given]));

const number = (is: (value: number) => boolean, expected: string) =>
  z.custom<number>((value) => typeof value === 'number' && is(value), `expected ${expected}`);
const text = z.string({ error: 'expected a text' });
const yesOrNo = z.boolean({ error: 'expected true or false' });
const oneOf = <const T extends readonly [string, ...string[]]>(...words: T) =>
  z.enum(words, { error: `expected ${words.slice(0, -1).join(', ')} or ${words.at(-1)}` });

/** Takes a mapping that has these keys and no others. */
const mapping = <T extends z.ZodRawShape>(shape: T, expected = 'a mapping') =>
  z.strictObject(shape, {
    error: ({ code, keys }) =>
      code === 'unrecognized_keys' && Array.isArray(keys)
        ? keys.map((key) => unknownKey(String(key), Object.keys(shape))).join('; ')
        : `expected ${expected}`,
  });

function unknownKey(key: string, known: readonly string[]): string {
  const near = closest(key, known);
  return near === undefined
    ? `no such key: ${key}. There are ${known.join(', ')}`
    : `no such key: ${key}. Did you mean ${near}?`;
}

export const MODELS_ENDPOINT = '/models';
const ENDPOINTS = [...BATCH_ENDPOINTS, MODELS_ENDPOINT] as const;

const CONDITIONS = {
  /** The body has this text. */
  text: listOf(z.string().min(1), TEXTS).optional(),
  customId: listOf(z.string(), TEXTS).optional(),
  line: range.optional(),
  endpoint: listOf(z.enum(ENDPOINTS), `one or a list of ${ENDPOINTS.join(', ')}`).optional(),
  model: listOf(z.string(), TEXTS).optional(),
  call: range.optional(),
  attempt: range.optional(),
  seconds: range.optional(),
  inFlight: range.optional(),
  chance: number((value) => value >= 0 && value <= 1, 'a number from 0 to 1').optional(),
};
const conditions = mapping(CONDITIONS);
export type Conditions = z.output<typeof conditions>;

const STATUS = 'a status from 200 to 599';
const status = number((value) => Number.isInteger(value) && value >= 200 && value <= 599, STATUS);
const END = ['hang', 'reset', 'close'] as const;
const isEnd = (given: unknown): boolean => END.some((end) => end === given);

const outcome = mapping(
  {
    delay: duration.optional(),
    status: status.optional(),
    /** The message of an error in OpenAI's shape. */
    message: text.optional(),
    code: text.nullable().optional(),
    /** A mapping is sent as JSON, and a text as it is. */
    body: z.unknown().optional(),
    /** It is merged into the usual answer. */
    merge: z.record(z.string(), z.unknown(), { error: 'expected a mapping' }).optional(),
    headers: z
      .record(
        z.string(),
        z.union([z.string(), z.number()], { error: 'expected a text or a number' }).transform(String),
        { error: 'expected a mapping' },
      )
      .optional(),
    stream: yesOrNo.optional(),
    compress: oneOf('gzip', 'br', 'deflate', 'zstd').optional(),
    /** The connection is closed in the middle of the body. */
    cut: yesOrNo.optional(),
    end: oneOf(...END).optional(),
    down: mapping({
      /** The server stays down for ever when this is left out. */
      for: duration.optional(),
      as: z
        .union([z.enum(['refused', ...END]), status], {
          error: `expected refused, ${END.join(', ')} or ${STATUS}`,
        })
        .default('refused'),
    }).optional(),
  },
  `${STATUS}, ${END.join(', ')}, or a mapping of what is done`,
);
export type Outcome = z.output<typeof outcome>;
export type DownAs = NonNullable<Outcome['down']>['as'];

const rule = mapping(
  {
    when: mapping({ ...CONDITIONS, not: conditions.optional() }).default({}),
    /** `do` may be a bare status, or a bare end. */
    do: z.preprocess((given) => {
      if (typeof given === 'number') return { status: given };
      return isEnd(given) ? { end: given } : given;
    }, outcome),
    /** How often the rule is used at most. */
    times: number((value) => Number.isInteger(value) && value >= 1, 'a whole number from 1 on').optional(),
  },
  'a mapping with `do`, and `when` where it is not for all requests',
);
export type Rule = z.output<typeof rule>;

const behaviour = z.array(rule, { error: 'expected a list of rules, each with `when` and `do`' });
