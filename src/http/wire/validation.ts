/** zod's findings in the words of the API: which parameter, what it was, what it should be. */
import type { FastifySchemaCompiler } from 'fastify';
import type { z } from 'zod';
import { ApiError, type ApiErrorCode } from '../../contract/error.ts';

/** A schema may name the error of its own rule: `params: { code: 'metadataTooMany' satisfies ApiErrorCode }`. */
export const compileValidator: FastifySchemaCompiler<z.ZodType> =
  ({ schema }) =>
  (input) =>
    check(schema, input);

export function check(schema: z.ZodType, input: unknown): { value: unknown } | { error: ApiError } {
  const result = schema.safeParse(input);
  if (result.success) return { value: result.data };
  const [issue] = result.error.issues;
  return {
    error: issue === undefined ? new ApiError('badRequest', 'Invalid request.') : toError(issue, input),
  };
}

function toError(issue: z.core.$ZodIssue, input: unknown): ApiError {
  const param = issue.path.join('.');
  const value = issue.path.reduce<unknown>(
    (at, key) => (typeof at === 'object' && at !== null ? Reflect.get(at, key) : undefined),
    input,
  );
  if (param === '' && issue.code === 'invalid_type')
    return new ApiError('invalidType', 'The request body must be a JSON object.');
  const { code, message } = describe(issue, { param, value });
  return new ApiError(code, message, { param });
}

function describe(
  issue: z.core.$ZodIssue,
  { param, value }: { param: string; value: unknown },
): { code: ApiErrorCode; message: string } {
  if (value === undefined && issue.code !== 'custom')
    return { code: 'missingParameter', message: `Missing required parameter: '${param}'.` };
  // The values of a query are strings, also where a number is expected.
  const isNumberLike = typeof value === 'string' || typeof value === 'number';
  if (issue.code === 'invalid_type' && isNumberLike && isNumeric(issue.expected))
    return {
      code: 'invalidValue',
      message: `Invalid value for '${param}': ${shown(value)}. It must be a whole number.`,
    };
  if (issue.code === 'invalid_type')
    return {
      code: param.startsWith('metadata') ? 'metadataInvalid' : 'invalidType',
      message: `Invalid type for '${param}': expected ${withArticle(nameOf(issue.expected))}, but got ${typeName(value)} instead.`,
    };
  if (issue.code === 'custom')
    return {
      code: (issue.params?.['code'] as ApiErrorCode | undefined) ?? 'invalidValue',
      message: issue.message,
    };
  return {
    code: 'invalidValue',
    message: `Invalid value for '${param}': ${shown(value)}. ${adviceOf(issue)}.`,
  };
}

/** The words of the schema, or better ones than zod's. */
function adviceOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `Supported values are: ${issue.values.map(shown).join(', ')}`;
  if (issue.code === 'too_small' && issue.message.startsWith('Too small'))
    return issue.minimum === 1 && issue.origin in COUNTED
      ? 'It must not be empty'
      : `It must ${haveOrBe(issue.origin)} at least ${issue.minimum}${COUNTED[issue.origin] ?? ''}`;
  if (issue.code === 'too_big' && issue.message.startsWith('Too big'))
    return `It must ${haveOrBe(issue.origin)} at most ${issue.maximum}${COUNTED[issue.origin] ?? ''}`;
  return issue.message;
}

const COUNTED: Readonly<Record<string, string>> = { string: ' characters', array: ' entries' };
const haveOrBe = (origin: string): string => (origin in COUNTED ? 'have' : 'be');

/** JSON has objects and no records. */
const nameOf = (type: string): string => (type === 'record' ? 'object' : type);

const isNumeric = (expected: string): boolean => expected === 'number' || expected === 'int';

const withArticle = (noun: string): string => (/^[aeiou]/.test(noun) ? `an ${noun}` : `a ${noun}`);

function typeName(value: unknown): string {
  if (value === null) return 'null';
  return withArticle(Array.isArray(value) ? 'array' : typeof value);
}

/** A message shows little of what was sent: a body may be large, and nested deeper than any stack. */
function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return typeName(value);
  const text = typeof value === 'string' ? `'${value}'` : String(value);
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
