/** An error as an answer in the caller's dialect. */
import { API_ERRORS, type ApiError, type Dialect, type ErrorEntry } from '../../contract/error.ts';

export interface ErrorReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export function renderError(error: ApiError, dialect: Dialect): ErrorReply {
  const entry: ErrorEntry = API_ERRORS[error.code];
  const headers: Record<string, string> =
    error.retryAfterS === null
      ? {}
      : { 'retry-after': `${error.retryAfterS}`, 'retry-after-ms': `${error.retryAfterS * 1000}` };
  if (dialect === 'openai') {
    const { message, param } = error.openai ?? error;
    const status = entry.openaiStatus ?? entry.status;
    if (status === 409) headers['x-should-retry'] = 'false';
    return {
      status,
      headers,
      body: { error: { message, type: entry.openaiType, param, code: entry.openai } },
    };
  }
  const { message } = error;
  const { status } = entry;
  // The original's gateway refuses a bad bearer token in a shape of its own (docs/contract.md §8).
  if (error.code === 'tokenRejected') return { status, headers, body: { statusCode: status, message } };
  const target = error.param === null ? {} : { target: error.param };
  return { status, headers, body: { error: { code: entry.azure, message, ...target } } };
}
