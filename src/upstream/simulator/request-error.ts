/** A real server would refuse the request with a 400. */
export class RequestError extends Error {
  override name = 'RequestError';
  readonly param: string | null;
  readonly code: string | null;
  constructor(message: string, param: string | null, code: string | null) {
    super(message);
    this.param = param;
    this.code = code;
  }

  /** The `error` of the answer. */
  toBody(): object {
    return { message: this.message, type: 'invalid_request_error', param: this.param, code: this.code };
  }
}

/** A model is asked for what it does not do. Azure's gateway says so, in a shape of its own. */
export class OperationNotSupported extends RequestError {
  constructor(operation: string, model: string) {
    super(
      `The ${operation} operation does not work with the specified model, ${model}. Please choose different model and try ` +
        'again. You can learn more about which models can be used with each operation here: ' +
        'https://go.microsoft.com/fwlink/?linkid=2197993.',
      null,
      'OperationNotSupported',
    );
  }

  override toBody(): object {
    return { code: this.code, message: this.message };
  }
}

export const missing = (param: string): RequestError =>
  new RequestError(`Missing required parameter: '${param}'.`, param, 'missing_required_parameter');
export const tooMany = (param: string, max: number): RequestError =>
  new RequestError(
    `'${param}' has too many items for the simulator; at most ${max} fit.`,
    param,
    'array_above_max_length',
  );
export const unknown = (param: string): RequestError =>
  new RequestError(`Unknown parameter: '${param}'.`, param, 'unknown_parameter');
export const wrongType = (param: string, expected: string, value: unknown): RequestError =>
  new RequestError(
    `Invalid type for '${param}': expected ${expected}, but got ${kindOf(value)} instead.`,
    param,
    'invalid_type',
  );
export const wrongValue = (param: string, value: unknown, supported: readonly string[]): RequestError =>
  new RequestError(
    `Invalid value: '${String(value)}'. Supported values are: ${listed(supported)}.`,
    param,
    'invalid_value',
  );
export const unsupported = (param: string, instead = ''): RequestError =>
  new RequestError(
    `Unsupported parameter: '${param}' is not supported with this model.${instead}`,
    param,
    'unsupported_parameter',
  );
export const tooLong = (param: string, max: number, length: number): RequestError =>
  new RequestError(
    `Invalid '${param}': array too long. Expected an array with maximum length ${max}, but got an array with length ` +
      `${length} instead.`,
    param,
    'array_above_max_length',
  );

export const emptyArray = (param: string): RequestError =>
  new RequestError(
    `Invalid '${param}': empty array. Expected an array with minimum length 1, but got an empty array instead.`,
    param,
    'empty_array',
  );
export const wrongPattern = (param: string, pattern: RegExp): RequestError =>
  new RequestError(
    `Invalid '${param}': string does not match pattern. Expected a string that matches the pattern '${pattern.source}'.`,
    param,
    'invalid_value',
  );

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly kind: 'integer' | 'decimal';
}

/** Returns null when the value is within its bounds. */
export function outOfBounds(param: string, value: number, { min, max, kind }: Bounds): RequestError | null {
  if (value >= min && value <= max) return null;
  const [side, sign, bound] = value < min ? ['below min', '>=', min] : ['above max', '<=', max];
  return new RequestError(
    `Invalid '${param}': ${kind} ${side}imum value. Expected a value ${sign} ${bound}, but got ${value} instead.`,
    param,
    `${kind}_${side.replace(' ', '_')}_value`,
  );
}

const listed = (values: readonly string[]): string => {
  const quoted = values.map((value) => `'${value}'`);
  if (quoted.length <= 2) return quoted.join(' and ');
  return `${quoted.slice(0, -1).join(', ')}, and ${quoted.at(-1)}`;
};

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a decimal number';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}
