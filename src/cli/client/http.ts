import { z } from 'zod';
import { commandName } from '../process/command-name.ts';
import { CliError, EXIT } from '../process/exit.ts';
import { reasonOf } from '../process/system-error.ts';
import { tryJson } from '../process/try-json.ts';
import { note, oneLine } from '../terminal/print.ts';
import { reasonOfCall } from './connection-error.ts';

/** A service that commands call, and the headers and query of each call. */
export interface Service {
  /** The path of a call is appended to it. */
  readonly baseUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, string>>;
  /** The flag or the variable that chose the service. */
  readonly source: string;
  /** What the user can do when the key is refused. */
  readonly keyHint: string;
}

/** Prints where requests go, before anything is sent. */
export const noteService = ({ baseUrl, source }: Service): void => note(`service: ${baseUrl} (${source})`);

export type Query = Readonly<Record<string, string | number | undefined>>;

export interface SendOptions {
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | FormData;
  /** The limit for the whole answer; null: none. */
  readonly waitMs?: number | null;
}

/** The service cannot be reached, or has a problem that may pass. Trying again may help. */
export class Unreachable extends CliError {
  override name = 'Unreachable';
}

const ANSWER_WAIT_MS = 120_000;

/** Sends one request. If the answer is not a 2xx, it throws a `CliError` in the words of the service. */
export async function send(
  service: Service,
  method: string,
  path: string,
  options: SendOptions = {},
): Promise<Response> {
  const url = new URL(service.baseUrl + path);
  for (const [name, value] of Object.entries({ ...service.query, ...options.query })) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  const waitMs = options.waitMs === undefined ? ANSWER_WAIT_MS : options.waitMs;
  const response = await fetch(url, {
    method,
    headers: {
      ...service.headers,
      ...(typeof options.body === 'string' && { 'content-type': 'application/json' }),
      ...options.headers,
    },
    body: options.body ?? null,
    // A redirect would carry the key to another host.
    redirect: 'error',
    signal: waitMs === null ? null : AbortSignal.timeout(waitMs),
  }).catch(async (error: unknown) => {
    const reason = await reasonOfCall(new URL(service.baseUrl), error);
    const message = `Cannot reach ${service.baseUrl}: ${reason}${advice(url, reason)}`;
    throw new Unreachable(message, EXIT.unreachable, { cause: error });
  });
  if (!response.ok) throw await refusal(service, response);
  return response;
}

function advice({ hostname, port }: URL, reason: string): string {
  if (['localhost', '127.0.0.1', '[::1]'].includes(hostname) && reason.includes('nothing listens'))
    return `. ${commandName()} serve starts a service here; --endpoint URL names another one.`;
  // Browsers and curl resolve names below `localhost` by themselves; not every system does.
  const [, resource] = /^(.+)\.localhost$/.exec(hostname) ?? [];
  if (resource === undefined) return '';
  return `. A resource is addressed by path, too: http://localhost${port && `:${port}`} with --resource ${resource}.`;
}

/** Sends one request and reads its answer as JSON of this shape. An empty answer is null. */
export async function sendFor<T extends z.ZodType>(
  service: Service,
  shape: T,
  method: string,
  path: string,
  options: SendOptions = {},
): Promise<z.output<T>> {
  const response = await send(service, method, path, options);
  const text = await response.text().catch((error: unknown) => {
    throw brokenOff(service, error);
  });
  const json = text === '' ? null : tryJson(text);
  const parsed = shape.safeParse(json);
  if (parsed.success) return parsed.data;
  const what = json === undefined ? 'without JSON' : 'with something else';
  const message = `${service.baseUrl} answered ${response.status} ${what}. Is it the right service?`;
  throw new CliError(message, EXIT.failed, { cause: parsed.error });
}

export const brokenOff = ({ baseUrl }: Service, error: unknown): Unreachable =>
  new Unreachable(`${baseUrl} broke off its answer: ${reasonOf(error)}.`, EXIT.unreachable, { cause: error });

const RemoteError = z.object({
  error: z.object({ code: z.string().nullish(), message: z.string() }),
});
/** Azure's answer to a bad token. */
const BareError = z.object({ message: z.string() });

async function refusal(service: Service, response: Response): Promise<CliError> {
  const text = await response.text().catch(() => '');
  const hint = response.status === 401 ? ` ${service.keyHint}` : '';
  const message = `${service.baseUrl} answered ${response.status}: ${oneLine(saidIn(text))}${hint}`;
  const isTransient = response.status === 429 || response.status >= 500;
  return isTransient ? new Unreachable(message, EXIT.failed) : new CliError(message, EXIT.failed);
}

function saidIn(text: string): string {
  const json = tryJson(text);
  const { data } = RemoteError.safeParse(json);
  if (data) return `${data.error.message}${data.error.code ? ` (${data.error.code})` : ''}`;
  return BareError.safeParse(json).data?.message ?? text.slice(0, 200);
}
