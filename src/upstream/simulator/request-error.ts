/** What a real server would refuse with a 400. */
export class RequestError extends Error {
  override name = 'RequestError';
  readonly param: string | null;
  readonly code: string | null;
  constructor(message: string, param: string | null, code: string | null) {
    super(message);
    this.param = param;
    this.code = code;
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
