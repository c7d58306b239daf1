import { z } from 'zod';
import { TAGS_MAX } from '../contract/control.ts';
import { parseIpRange } from '../core/ip-ranges.ts';
import { toProxy } from '../core/proxy.ts';
import { didYouMean } from '../core/suggest.ts';

/**
 * The kinds of values that options take. Every source gives text: flags, variables, and the file, where YAML gives scalars
 * no types, so that a key 0012 keeps its zeros. `what` completes "expected …" in a fault.
 */
export interface Kind<T> {
  readonly what: string;
  readonly schema: z.ZodType<T>;
}

export function kind<T>(
  what: string,
  parse: (text: string) => T | undefined,
  { secret = false } = {},
): Kind<T> {
  const schema = z.string({ error: `expected ${what}` });
  return {
    what,
    schema: schema.transform((raw, context) => {
      const value = parse(raw.trim());
      if (value !== undefined) return value;
      const got = secret ? '' : `, got ${JSON.stringify(raw)}`;
      context.issues.push({ code: 'custom', message: `expected ${what}${got}`, input: undefined });
      return z.NEVER;
    }),
  };
}

export const text = kind('some text', (raw) => raw || undefined);
/** A fault never shows its value. */
export const secret = kind(
  'a key of ASCII characters without spaces',
  (raw) => (/^[\x21-\x7e]+$/.test(raw) ? raw : undefined),
  {
    secret: true,
  },
);
export const flag = kind('true or false', (raw) => ({ true: true, false: false })[raw.toLowerCase()]);
export const port = kind('a port number, 0 to 65535', (raw) => integer(raw, 0, 65_535));
/** Names of groups, upstreams and zones. */
export const name = kind('a name of letters, digits, -, _ and ., 64 at most', (raw) =>
  /^[\w.-]{1,64}$/.test(raw) ? raw : undefined,
);
/** `Korea Central` is the same as `koreacentral`. */
export const region = kind('a region like koreacentral', (raw) => {
  const bare = raw.toLowerCase().replaceAll(' ', '');
  return /^[a-z0-9][a-z0-9-]{1,39}$/.test(bare) ? bare : undefined;
});
export const domain = kind('a domain like openai.example.com', (raw) =>
  /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(raw.toLowerCase())
    ? raw.toLowerCase()
    : undefined,
);
export const ipRange = kind('an address or a range like 10.0.0.0/8', parseIpRange);
export const price = kind('USD per million tokens, like 1.25', (raw) => decimal(raw, Number.isFinite));
export const ratio = kind('a number from 0 to 1', (raw) => decimal(raw, (value) => value >= 0 && value <= 1));

export const count = (min: number, max: number): Kind<number> =>
  kind(`a whole number, ${min} to ${max}, like 200, 50K, 5M or 5B`, (raw) =>
    within(scaled(raw, { '': 1, K: 1e3, M: 1e6, B: 1e9 }), min, max),
  );

/** It gives milliseconds. A bare number means seconds. */
export const duration = (minMs: number, maxMs: number): Kind<number> =>
  kind('a duration like 500ms, 30s, 10m or 2h', (raw) =>
    within(scaled(raw, { '': 1_000, ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }), minMs, maxMs),
  );

/** It gives milliseconds. Data are removed after it, so a bare number is refused: its unit would be a guess. */
export const age: Kind<number> = kind('an age with its unit, like 36h or 90d', (raw) =>
  within(scaled(raw, { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }), 1_000, 36_500 * 86_400_000),
);

export const bytes: Kind<number> = kind('a size like 1048576, 64KiB, 64MiB or 1GiB', (raw) =>
  within(
    scaled(raw, { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }),
    0,
    Number.MAX_SAFE_INTEGER,
  ),
);

export const oneOf = <const T extends string>(...choices: readonly T[]): Kind<T> =>
  kind(`one of ${choices.join(', ')}`, (raw) => choices.find((choice) => choice === raw));

/** May carry a password, so it is never shown in a fault. */
export const proxyUrl = kind(
  'none, or a URL like http://user:password@proxy.example.com:3128',
  (raw) => (raw === 'none' || toProxy(raw) !== undefined ? raw : undefined),
  { secret: true },
);
/** May carry a password, so it is never shown in a fault. */
export const databaseUrl = kind(
  'a URL like postgres://user:password@host:5432/offpeak',
  (raw) => (/^postgres(ql)?:$/.test(URL.parse(raw)?.protocol ?? '') ? raw : undefined),
  { secret: true },
);

/** Several values of one kind: a repeated flag, a comma-separated variable, a list in the file. */
export function listOf<T>(item: Kind<T>): Kind<readonly T[]> {
  const split = (raw: unknown) =>
    typeof raw === 'string'
      ? raw
          .split(',')
          .map((part) => part.trim())
          .filter(Boolean)
      : raw;
  return {
    what: `a list; each ${item.what}`,
    schema: z.preprocess(split, z.array(item.schema, { error: `expected a list; each ${item.what}` })),
  };
}

/** A list in the file. */
export const each = <T>(item: z.ZodType<T>, what: string): z.ZodType<T[]> =>
  z.array(item, { error: `expected a list; each ${what}` }).min(1, `expected at least one ${what}`);

/** Keys and values in the file. Each unknown key is a fault, on a line of its own in the message. */
export const mapping = <Shape extends z.ZodRawShape>(shape: Shape) =>
  z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? issue.keys.map((key) => `unknown key '${key}'.${didYouMean(key, Object.keys(shape))}`).join('\n')
        : `expected keys and values: ${Object.keys(shape).join(', ')}`,
  });

/** Text or another shape. The kind of the value decides, so that a fault names the part that is wrong. */
export const textOr = <A, B>(ofText: z.ZodType<A>, other: z.ZodType<B>): z.ZodType<A | B> =>
  z.unknown().transform((raw, context): A | B => {
    const parsed = (typeof raw === 'string' ? ofText : other).safeParse(raw);
    if (parsed.success) return parsed.data;
    context.issues.push(...parsed.error.issues.map((issue) => ({ ...issue, input: undefined })));
    return z.NEVER;
  });

/** Names and values that users choose. */
export const tags = z
  .record(z.string().max(512), text.schema, { error: 'expected names and values' })
  .refine((given) => Object.keys(given).length <= TAGS_MAX, `at most ${TAGS_MAX} tags`);

function integer(raw: string, min: number, max: number): number | undefined {
  return /^\d+$/.test(raw) ? within(Number(raw), min, max) : undefined;
}

function decimal(raw: string, accepts: (value: number) => boolean): number | undefined {
  const value = Number(raw);
  return /^\d+(\.\d+)?$/.test(raw) && accepts(value) ? value : undefined;
}

/** A number and one of the `units`: `64MiB` is 64 × 2^20. */
function scaled(raw: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d[\d_]*(?:\.\d+)?)\s*([a-z]*)$/i.exec(raw);
  const factor = match && Object.entries(units).find(([unit]) => unit === match[2])?.[1];
  if (!match?.[1] || factor === undefined || factor === null) return undefined;
  const value = Number(match[1].replaceAll('_', '')) * factor;
  return Number.isSafeInteger(value) ? value : undefined;
}

const within = (value: number | undefined, min: number, max: number): number | undefined =>
  value !== undefined && value >= min && value <= max ? value : undefined;
