import type { BatchEndpoint } from '../../contract/batch.ts';
import { type MODELS_ENDPOINT, type Outcome } from './behaviour.ts';
import { isObject } from '../json.ts';

/** An answer as the server sends it. */
export interface WireAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The body before it is compressed. */
  readonly body: Buffer;
  readonly compress: NonNullable<Outcome['compress']> | null;
  /** The connection is closed in the middle of the body. */
  readonly cut: boolean;
}

interface UsualAnswer {
  readonly endpoint: BatchEndpoint | typeof MODELS_ENDPOINT;
  readonly usual: Buffer;
}

/** Applies a rule's `do` to the usual answer. */
export function scriptedAnswer(outcome: Outcome, { endpoint, usual }: UsualAnswer): WireAnswer {
  const { status = 200, compress = null, cut = false } = outcome;
  const { body, type } = bodyOf(outcome, { endpoint, usual });
  return {
    status,
    cut,
    body,
    compress,
    headers: {
      'content-type': type,
      ...Object.fromEntries(
        Object.entries(outcome.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]),
      ),
    },
  };
}

function bodyOf(outcome: Outcome, { endpoint, usual }: UsualAnswer): { body: Buffer; type: string } {
  const { body, message, merge, stream, status = 200 } = outcome;
  if (typeof body === 'string')
    return { body: Buffer.from(body), type: body.trimStart().startsWith('<') ? 'text/html' : 'text/plain' };
  const answer =
    body ?? (message !== undefined || status >= 300 ? errorOf(outcome) : JSON.parse(usual.toString()));
  const merged = merge === undefined ? answer : overlay(answer, merge);
  if (stream) return { body: Buffer.from(eventsOf(merged, endpoint)), type: 'text/event-stream' };
  return { body: Buffer.from(JSON.stringify(merged)), type: 'application/json' };
}

const errorOf = ({ message, code, status = 200 }: Outcome): unknown => ({
  error: {
    message: message ?? '[simulated] An error, as the behaviour file asks for.',
    type: status >= 500 ? 'server_error' : 'invalid_request_error',
    param: null,
    code: code ?? null,
  },
});

/** Merges mappings, and lists item by item. Anything else is replaced. */
function overlay(base: unknown, over: unknown): unknown {
  if (Array.isArray(over) && Array.isArray(base)) {
    const items = base as readonly unknown[];
    const merged = (over as readonly unknown[]).map((item, index) => overlay(items[index], item));
    return over.length === 0 ? [] : [...merged, ...items.slice(over.length)];
  }
  if (!isObject(over) || !isObject(base)) return over;
  const merged = Object.entries(over).map(([key, value]) => [key, overlay(base[key], value)]);
  return { ...base, ...Object.fromEntries(merged) };
}

const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;

/** Makes the answer of a server that streams unless it is told not to. */
function eventsOf(answer: unknown, endpoint: UsualAnswer['endpoint']): string {
  if (!isObject(answer) || answer['error'] != null) return event(answer);
  if (endpoint === '/responses') {
    const started = { ...answer, status: 'in_progress', output: [] };
    const ends = typeof answer['status'] === 'string' ? answer['status'] : 'completed';
    return [
      { type: 'response.created', response: started },
      { type: `response.${ends}`, response: answer },
    ]
      .map((one) => `event: ${one.type}\n${event(one)}`)
      .join('');
  }
  const { choices, usage, ...head } = answer;
  const list = Array.isArray(choices) ? choices.filter(isObject) : [];
  const object = endpoint === '/completions' ? 'text_completion' : 'chat.completion.chunk';
  const chunks = list.flatMap(({ message, finish_reason, ...choice }) => [
    {
      ...head,
      object,
      choices: [{ ...choice, ...(isObject(message) && { delta: message }), finish_reason: null }],
    },
    {
      ...head,
      object,
      choices: [
        {
          index: choice['index'],
          ...(endpoint === '/completions' ? { text: '' } : { delta: {} }),
          finish_reason,
        },
      ],
    },
  ]);
  return `${[...chunks, { ...head, object, choices: [], usage }].map(event).join('')}data: [DONE]\n\n`;
}
