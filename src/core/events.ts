/**
 * Every event that the log can have: its level, its message and its fields. Nothing else can be logged. `npm run fix` writes
 * these tables into docs/operations.md.
 */

export type Level = 'debug' | 'info' | 'warn' | 'error';

const text = (meaning: string) => ({ kind: 'text', meaning }) as const;
const number = (meaning: string) => ({ kind: 'number', meaning }) as const;

/** A field has the same name and meaning in every event. No field has a body, a key or the content of a file. */
export const FIELDS = {
  resource: text('name of the resource'),
  deployment: text('name of the deployment'),
  upstream: text(
    'name of the upstream; its host where it has no name, with a path that is not the usual one',
  ),
  batch: text('id of the batch'),
  file: text('id of the file'),
  line: number('number of the line in the input file, from 1'),
  request: text('id of the request, as in the header `x-request-id`'),
  actor: text('who called, as in the audit log'),
  caller: text('address of the caller; behind a trusted proxy, the one that the proxy names'),
  reason: text('why, in words'),
  error: text('the error as the program met it'),
  url: text('address'),
  path: text('file or directory on this machine'),
  method: text('HTTP method'),
  route: text('pattern of the path that was called'),
  status: number('HTTP status'),
  endpoint: text('endpoint that the lines of the batch call'),
  outcome: text('`completed`, `failed`, `cancelled` or `expired`'),
  total: number('lines of the batch'),
  completed: number('lines that were answered'),
  failed: number('lines that failed'),
  tokens: number('tokens that the batch holds of the limit of its deployment'),
  inputTokens: number('tokens that the upstream counted in the requests'),
  outputTokens: number('tokens that the upstream counted in the answers'),
  retries: number('calls that were made again'),
  resent: number('requests that may have been sent a second time after a crash'),
  attempts: number('calls that were held against the line'),
  from: text('what it was before'),
  to: text('what it is now'),
  slot: number('number of the key, 1 or 2'),
  change: text('what is different'),
  option: text('option, variable or line of the file'),
  store: text('`sqlite` or `postgresql`'),
  signal: text('signal that the process got'),
  count: number('how many'),
  faults: number('how many faults'),
  segments: number('runs of lines that were claimed'),
  requests: number('lines that may have been in flight'),
  files: text('ids of the files; the first twenty of many'),
  database: text('path of the embedded database, or address of the PostgreSQL database'),
  bytes: number('size in bytes'),
  ms: number('how long the answer took'),
  durationMs: number('how long it took'),
  afterMs: number('time since it began'),
  waitMs: number('time until the next try'),
} as const;

export type FieldName = keyof typeof FIELDS;

interface Event<Field extends FieldName | `${FieldName}?`> {
  readonly level: Level;
  readonly message: string;
  /** A field with a question mark may be absent. */
  readonly fields: readonly Field[];
}

const event = <const Field extends FieldName | `${FieldName}?`>(
  level: Level,
  message: string,
  fields: readonly Field[],
): Event<Field> => ({ level, message, fields });

export const EVENTS = {
  // The service
  'service.up': event('info', 'the service is up', ['url', 'path', 'store']),
  'service.stopping': event(
    'info',
    'the service stops: requests in flight may finish; a second signal ends it at once',
    ['signal', 'waitMs'],
  ),
  'service.stopped': event('info', 'the service has stopped', ['durationMs']),
  'service.failed': event(
    'error',
    'the service ends at once so that nothing is lost; the next start goes on',
    ['error'],
  ),
  'installation.adopted': event(
    'warn',
    'the data directory and the database are one installation from now on, as --adopt says',
    ['path', 'database'],
  ),
  'installation.adopt_unneeded': event(
    'info',
    'the data directory and the database belong together already; --adopt is not needed',
    ['path', 'database'],
  ),
  'keys.dropped': event(
    'warn',
    'all keys are dropped, as --adopt says: the pepper that they were made with is lost',
    ['path'],
  ),
  'segments.taken_back': event('info', 'the lines in flight of a stopped process are taken up again', [
    'segments',
    'requests',
  ]),
  'log.dropped': event('warn', 'lines of this log were dropped, because it could not be written', ['count']),

  // Upstreams
  'upstream.ready': event('info', 'an upstream is ready', ['upstream', 'reason']),
  'upstream.unready': event('warn', 'an upstream cannot serve as it is', ['upstream', 'reason']),
  'upstream.unknown': event('warn', 'an upstream does not say whether it can serve', ['upstream', 'reason']),
  'upstream.simulated': event('warn', 'answers are simulated: no model is asked', ['upstream']),
  'upstream.unchecked': event('warn', 'the upstreams could not be asked whether they can serve', ['error']),
  'upstream.slow': event('info', 'an upstream asks to slow down', ['upstream', 'reason', 'waitMs?']),
  'upstream.down': event('warn', 'an upstream is down; its batches wait, and it is asked until it is back', [
    'upstream',
    'reason',
  ]),
  'upstream.refusing': event('warn', 'an upstream refuses every request; its batches wait', [
    'upstream',
    'reason',
    'endpoint?',
  ]),
  'upstream.back': event('info', 'an upstream is back', ['upstream', 'afterMs']),
  'upstream.retries': event('warn', 'many requests to an upstream are sent again', [
    'upstream',
    'retries',
    'durationMs',
    'reason',
  ]),
  'upstream.streams': event(
    'info',
    'an upstream streams unasked; its answers are put together from the events',
    ['upstream'],
  ),
  'upstream.unclosed': event('warn', 'the connections to an upstream did not close', ['upstream', 'error']),

  // Batches and files
  'file.uploaded': event('info', 'a file is uploaded', ['file', 'bytes', 'resource', 'actor']),
  'files.expired': event('info', 'expired files are deleted', ['count']),
  'files.bytes_removed': event('debug', 'bytes that deleted files had left behind are removed', ['count']),
  'files.not_expired': event('warn', 'expired files could not be deleted; the service tries again later', [
    'error',
  ]),
  'retention.batches_removed': event('info', 'ended batches that were kept long enough are removed', [
    'count',
  ]),
  'retention.files_removed': event('info', 'files that were kept long enough are removed', ['count']),
  'retention.audit_removed': event('info', 'audit entries that were kept long enough are removed', ['count']),
  'strays.set_aside': event(
    'warn',
    'files on the disk that the database does not name are set aside; they are removed after 7 days',
    ['count', 'files', 'path'],
  ),
  'files.missing': event(
    'warn',
    'the disk lacks files that the database names, as after a partial restore; `offpeak verify` names all of them',
    ['count', 'files', 'path'],
  ),
  'strays.back': event('warn', 'files that were set aside are back, because the database names them', [
    'count',
    'files',
    'path',
  ]),
  'strays.removed': event(
    'warn',
    'files that were set aside 7 days ago are removed; the database still does not name them',
    ['count', 'files', 'path'],
  ),
  'batch.created': event('info', 'a batch is created', [
    'batch',
    'resource',
    'deployment?',
    'file',
    'endpoint',
    'actor',
  ]),
  'batch.planned': event('info', 'a batch is validated', [
    'batch',
    'resource',
    'deployment',
    'total',
    'tokens',
  ]),
  'batch.started': event('info', 'the lines of a batch are sent', [
    'batch',
    'resource',
    'deployment',
    'total',
    'completed',
    'failed',
  ]),
  'batch.waiting': event('info', 'a batch waits', ['batch', 'resource', 'deployment?', 'reason']),
  'batch.resumed': event('info', 'a batch waits no longer', ['batch', 'resource', 'deployment?', 'afterMs']),
  'batch.ended': event('info', 'a batch has ended', [
    'batch',
    'resource',
    'deployment?',
    'outcome',
    'total',
    'completed',
    'failed',
    'inputTokens',
    'outputTokens',
    'retries',
    'resent',
    'durationMs',
    'reason?',
  ]),
  'line.failed': event('debug', 'a line has failed for good', [
    'batch',
    'line',
    'upstream',
    'status?',
    'attempts',
    'reason',
  ]),
  'input.damaged': event(
    'error',
    'the bytes of an input are not those that were uploaded; its batch ends, and keeps the answers that it has',
    ['batch', 'resource', 'file', 'reason'],
  ),
  'file.damaged': event('error', 'the bytes of a file are not those that were stored; it cannot be read', [
    'file',
    'resource',
    'reason',
  ]),

  // Stores
  'disk.low': event('warn', 'the disk is nearly full: uploads are refused and nothing is sent', ['path']),
  'disk.ok': event('info', 'the disk has space again: work goes on', ['path']),
  'store.trouble': event('warn', 'a call of a store failed; it is tried again', ['error', 'waitMs']),

  // What operators change
  'key.made': event('info', 'a key is made', ['resource', 'slot', 'actor', 'path?']),
  'key.rotated': event('info', 'a key is replaced', ['resource', 'slot', 'actor']),
  'admin_key.made': event('info', 'an admin key is made', ['path?']),
  'configuration.changed': event('info', 'the configuration is changed', [
    'change',
    'actor?',
    'resource?',
    'deployment?',
  ]),
  'configuration.read': event('info', 'the configuration is read again', ['count']),
  'configuration.restart_needed': event('warn', 'a changed option needs a restart', ['option']),
  'configuration.fault': event('error', 'the configuration has a fault', ['option', 'reason']),
  'configuration.refused': event('error', 'the configuration has faults: nothing is changed', ['faults']),
  'configuration.not_applied': event(
    'error',
    'the configuration could not be applied; send the signal again',
    ['error'],
  ),
  'configuration.warning': event('warn', 'the configuration may not mean what it says', ['reason']),
  'deployment.gone': event('warn', 'a deployment that has batches is gone; they wait for it', [
    'deployment',
    'resource',
  ]),
  'deployment.upgraded': event('info', 'a deployment has another version of its model now', [
    'resource',
    'deployment',
    'from?',
    'to?',
  ]),
  'deployment.not_upgraded': event('warn', 'a deployment could not be given another version of its model', [
    'resource',
    'deployment',
    'from?',
    'to?',
  ]),

  // Calls
  request: event('info', 'request', [
    'request',
    'method',
    'route',
    'status',
    'ms',
    'resource?',
    'actor?',
    'caller?',
    'batch?',
    'file?',
  ]),
  'request.probe': event('debug', 'request of a health check', [
    'request',
    'method',
    'route',
    'status',
    'ms',
  ]),
  'request.failed': event('error', 'a request failed in the service', ['request', 'reason', 'error']),
  'token.refused': event('info', 'a token is refused', ['reason']),
  'issuer.unreachable': event('warn', 'the public keys of the token issuer cannot be fetched', [
    'url',
    'reason',
  ]),
} as const;

export type EventName = keyof typeof EVENTS;

type Value<Name extends FieldName> = (typeof FIELDS)[Name]['kind'] extends 'text' ? string : number;
type Fields<Name extends EventName> = (typeof EVENTS)[Name]['fields'][number];

/** The fields that an event must have, and those that it may have. Null and undefined are left out. */
export type EventFields<Name extends EventName> = {
  readonly [Field in Extract<Fields<Name>, FieldName>]: Value<Field>;
} & {
  readonly [Field in OptionalOf<Fields<Name>>]?: Value<Field> | null | undefined;
};
type OptionalOf<Field> = Field extends `${infer Name extends FieldName}?` ? Name : never;
