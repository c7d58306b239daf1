import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { BATCH_ENDPOINTS } from '../../contract/batch.ts';

/** What a behaviour file asks for: the first rule that matches a request decides. */
export type Behaviour = readonly Rule[];

/** The file has faults: one line each, with the place in the file. */
export class BehaviourError extends Error {
  override name = 'BehaviourError';
  readonly faults: readonly string[];
  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.faults = faults;
  }
}

/** Throws `BehaviourError` for what is no behaviour; what the file system says passes through. */
export async function readBehaviour(path: string): Promise<Behaviour> {
  return parseBehaviour(await readFile(path, 'utf8'));
}

/** YAML, of which JSON is a part. */
export function parseBehaviour(text: string): Behaviour {
  const document = parseDocument(text);
  if (document.errors.length > 0)
    throw new BehaviourError(document.errors.map(({ message }) => message.split('\n')[0] ?? message));
  const parsed = behaviour.safeParse(document.toJS() ?? []);
  if (parsed.success) return parsed.data;
  throw new BehaviourError(parsed.error.issues.map(({ path, message }) => `${placeOf(path)}${message}`));
}

const placeOf = (path: readonly PropertyKey[]): string =>
  path.length === 0
    ? ''
    : `${path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`)).join('')}: `.replace(
        /^\[(\d+)\]\.?/,
        (_, index: string) => `rule ${Number(index) + 1}: `,
      );

/** `from` and `to` are both included. */
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
  return { from: Number(from ?? 0), to: to === undefined ? Infinity : Number(to) };
});

const UNITS_MS: Readonly<Record<string, number>> = { '': 1_000, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
/** In milliseconds; a bare number is seconds, as everywhere. */
const duration = z.union([z.number(), z.string()]).transform((given, context): number => {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?) ?(ms|s|m|h)?$/.exec(String(given)) ?? [];
  if (number !== undefined) return Number(number) * (UNITS_MS[unit] ?? 1);
  context.addIssue('expected a duration like 500ms, 30s or 2m');
  return z.NEVER;
});

const listOf = <T extends z.ZodType>(item: T) =>
  z.union([item, z.array(item).min(1)]).transform((given) => (Array.isArray(given) ? given : [given]));

export const MODELS_ENDPOINT = '/models';
const endpoint = z.enum([...BATCH_ENDPOINTS, MODELS_ENDPOINT]);

const CONDITIONS = {
  /** Stands in the body. */
  text: listOf(z.string().min(1)).optional(),
  customId: listOf(z.string()).optional(),
  line: range.optional(),
  endpoint: listOf(endpoint).optional(),
  model: listOf(z.string()).optional(),
  call: range.optional(),
  attempt: range.optional(),
  seconds: range.optional(),
  inFlight: range.optional(),
  chance: z.number().min(0).max(1).optional(),
};
const conditions = z.strictObject(CONDITIONS);
export type Conditions = z.output<typeof conditions>;

const status = z.number().int().min(200).max(599);
const END = ['hang', 'reset', 'close'] as const;
const CODINGS = ['gzip', 'br', 'deflate', 'zstd'] as const;

const outcome = z.strictObject({
  delay: duration.optional(),
  status: status.optional(),
  /** Of an error in OpenAI's shape. */
  message: z.string().optional(),
  code: z.string().nullable().optional(),
  /** A mapping is sent as JSON, a text as it stands. */
  body: z.unknown().optional(),
  /** Laid over the usual answer. */
  merge: z.record(z.string(), z.unknown()).optional(),
  headers: z.record(z.string(), z.union([z.string(), z.number()]).transform(String)).optional(),
  stream: z.boolean().optional(),
  compress: z.enum(CODINGS).optional(),
  /** The connection is closed in the middle of the body. */
  cut: z.boolean().optional(),
  end: z.enum(END).optional(),
  down: z
    .strictObject({
      /** For ever when omitted. */
      for: duration.optional(),
      as: z.union([z.enum(['refused', ...END]), status]).default('refused'),
    })
    .optional(),
});
export type Outcome = z.output<typeof outcome>;
export type DownAs = NonNullable<Outcome['down']>['as'];

const rule = z.strictObject({
  when: conditions.extend({ not: conditions.optional() }).default({}),
  /** A bare status, or a bare end. */
  do: z.preprocess((given) => {
    if (typeof given === 'number') return { status: given };
    return typeof given === 'string' ? { end: given } : given;
  }, outcome),
  /** At most so often. */
  times: z.number().int().min(1).optional(),
});
export type Rule = z.output<typeof rule>;

const behaviour = z.array(rule, { error: 'expected a list of rules, each with `when` and `do`' });
