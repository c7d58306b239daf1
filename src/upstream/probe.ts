import { errorWordsOf } from './error-words.ts';
import { asObject } from './json.ts';
import type { UpstreamProbe, UpstreamReply } from './port.ts';

/** Reads the reply to `GET …/models`. */
export function toProbe(reply: UpstreamReply): UpstreamProbe {
  if (reply.kind === 'failure') {
    const { status, reason, message } = reply;
    return status === null ? { kind: 'failure', reason, message } : { kind: 'answer', status, message };
  }
  const { status, body, asked } = reply;
  const ids = status >= 200 && status < 300 ? idsOf(JSON.parse(Buffer.from(body).toString())) : undefined;
  if (ids !== undefined) return { kind: 'models', ids };
  const where = asked ?? 'the question for its list of models';
  return { kind: 'answer', status, message: `answers ${status} to ${where}: ${said(body)}` };
}

function said(body: Uint8Array): string {
  const { message } = errorWordsOf(body);
  return (message || Buffer.from(body).toString()).slice(0, MESSAGE_MAX).toWellFormed();
}

const MESSAGE_MAX = 300;

/** Returns undefined when it is no list of models. A list is an array: bare, in `data`, or in Ollama's `models`. */
function idsOf(list: unknown): string[] | undefined {
  const object = asObject(list);
  const models = Array.isArray(list) ? list : (object?.['data'] ?? object?.['models']);
  if (!Array.isArray(models)) return undefined;
  return models
    .map((model: unknown) =>
      typeof model === 'string' ? model : (asObject(model)?.['id'] ?? asObject(model)?.['name']),
    )
    .filter((id) => typeof id === 'string');
}
