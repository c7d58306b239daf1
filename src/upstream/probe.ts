import type { UpstreamProbe, UpstreamReply } from './port.ts';

/** What the reply to `GET …/models` tells. */
export function toProbe(reply: UpstreamReply): UpstreamProbe {
  if (reply.kind === 'failure') {
    const { status, reason, message } = reply;
    return status === null ? { kind: 'failure', reason, message } : { kind: 'answer', status, message };
  }
  const { status, asked } = reply;
  const text = Buffer.from(reply.body).toString();
  const ids = status >= 200 && status < 300 ? idsOf(JSON.parse(text)) : undefined;
  if (ids !== undefined) return { kind: 'models', ids };
  const where = asked === undefined ? 'its list of models' : asked;
  return { kind: 'answer', status, message: `answers ${status} to ${where}: ${text.slice(0, MESSAGE_MAX)}` };
}

const MESSAGE_MAX = 300;

/** Undefined: not a list of models. */
function idsOf(list: unknown): string[] | undefined {
  const data: unknown = typeof list === 'object' && list !== null && 'data' in list ? list.data : undefined;
  if (!Array.isArray(data)) return undefined;
  return data
    .map((model: unknown) =>
      typeof model === 'object' && model !== null && 'id' in model ? model.id : undefined,
    )
    .filter((id) => typeof id === 'string');
}
