import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';
import type { BatchEndpoint } from '../contract/batch.ts';
import type { Clock } from '../core/clock.ts';
import { errorAnswer, readAnswer, type AnswerBody } from './answer.ts';
import type { CallsUnderWay, EndableCall } from './calls-under-way.ts';
import type { Exchange } from './connections.ts';
import { codingsOf, decode, isKnown } from './decoding.ts';
import type { UpstreamFailure, UpstreamReply } from './port.ts';
import { answerReply } from './reply.ts';
import { firstOf } from './retry-after.ts';
import type { TlsCheck } from './tls-check.ts';
import { ProxyRefusal, refusalOf, unreachable } from './tunnel.ts';
import { describeAsked, describeError, describeRedirect } from './words.ts';

export interface HttpCallSettings {
  readonly base: URL;
  /** The proxy before the upstream. Null: there is none. */
  readonly proxy: URL | null;
  /** The key of the upstream. It is never shown in a message, and it is masked where the upstream echoes it in an error. */
  readonly secret: string | null;
  readonly timeoutMs: number;
  readonly responseBytesMax: number;
  readonly clock: Clock;
  readonly underWay: CallsUnderWay;
  readonly tlsCheck: TlsCheck;
  /** Called when the upstream streamed an answer though nobody asked it to. */
  readonly onStreamed: () => void;
}

export interface Asked {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Null stands for the list of models. */
  readonly endpoint: BatchEndpoint | null;
}

/**
 * One request on the wire. It is queued until undici starts it (`#controller`), then sent; once a head has come (`#status`) it
 * gathers the body. From any mode it settles once: by its answer, a failure, its deadline or its signal, whichever is first.
 * What comes later is ignored. Its deadline follows the system's clock, as sockets do; `clock` is for dates of `retry-after`.
 */
export class HttpCall implements Exchange, EndableCall {
  readonly reply: Promise<UpstreamReply>;
  readonly startedAtMs = performance.now();
  readonly signal: AbortSignal;
  release = NOT_SENT;
  readonly #settings: HttpCallSettings;
  readonly #asked: Asked;
  readonly #place: number;
  readonly #resolve: (reply: UpstreamReply) => void;
  #settled = false;
  #controller: Dispatcher.DispatchController | null = null;
  #status: number | null = null;
  #headers: IncomingHttpHeaders = {};
  #body: Buffer = EMPTY;
  #bodyBytes = 0;

  constructor(settings: HttpCallSettings, asked: Asked, signal: AbortSignal) {
    const { promise, resolve } = Promise.withResolvers<UpstreamReply>();
    this.reply = promise;
    this.#resolve = resolve;
    this.#settings = settings;
    this.#asked = asked;
    this.signal = signal;
    this.#place = settings.underWay.add(this);
    if (signal.aborted) this.onAbort();
  }

  get isOver(): boolean {
    return this.#settled;
  }

  onAbort(): void {
    this.#fail('aborted', 'the call was ended');
  }

  onTimeout(): void {
    this.#fail('timeout', `no whole answer within ${this.#settings.timeoutMs / 1000} s`);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#settled) return controller.abort(CALL_OVER);
    this.#controller = controller;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (status < 200 || this.#settled) return;
    this.#status = status;
    this.#headers = headers;
    const { proxy } = this.#settings;
    if (status === 407 && proxy !== null) return this.#fail('unreachable', refusalOf(proxy, status));
    if (status >= 300 && status < 400)
      return this.#fail(
        'redirect',
        describeRedirect(status, firstOf(headers['location']), this.#asked.path, this.#settings.base),
      );
    // The status says enough. The stream is not read, as it may never end.
    if (status >= 400 && firstOf(headers['content-type'])?.startsWith('text/event-stream'))
      return this.#refuse('it sent an event stream, not one JSON value');
    const encoding = firstOf(headers['content-encoding']);
    if (!isKnown(codingsOf(encoding) ?? []))
      this.#refuse(
        `its answer is compressed in a way that is not known here (${encoding})`,
        'foreign_answer',
      );
    else if (Number(headers['content-length']) > this.#settings.responseBytesMax)
      this.#refuse(this.#tooLong());
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    const bytes = this.#bodyBytes + chunk.length;
    if (bytes > this.#settings.responseBytesMax) return this.#refuse(this.#tooLong());
    if (this.#bodyBytes === 0) {
      this.#body = chunk;
    } else {
      // The buffer doubles, because a hostile server may send a byte at a time.
      if (bytes > this.#body.length) this.#body = grown(this.#body, bytes * 2);
      this.#body.set(chunk, this.#bodyBytes);
    }
    this.#bodyBytes = bytes;
  }

  onResponseEnd(): void {
    this.release();
    // From here on the connection may carry another request, which must not be aborted.
    this.#controller = null;
    const body = this.#body.subarray(0, this.#bodyBytes);
    const codings = codingsOf(firstOf(this.#headers['content-encoding']));
    if (codings === undefined) return this.#receive(body);
    void decode(body, { codings, bytesMax: this.#settings.responseBytesMax }).then((decoded) => {
      if (decoded.kind === 'decoded') this.#receive(decoded.body);
      else if (decoded.kind === 'too_long') this.#refuse(this.#tooLong());
      else this.#refuse(`its answer is said to be compressed (${codings.join(', ')}), and is not or is cut`);
    });
  }

  #receive(bytes: Buffer): void {
    if (this.#settled || this.#status === null) return;
    const status = this.#status;
    const { tlsCheck, secret } = this.#settings;
    tlsCheck.pass();
    const result = readAnswer(bytes, { status, endpoint: this.#asked.endpoint, secret });
    if ('reason' in result) return this.#fail(result.reason, result.why);
    if (result.wasStreamed) this.#settings.onStreamed();
    this.#answer(status, result);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    this.release();
    const code = 'code' in error ? String(error.code) : error.name;
    const begun = this.#status !== null;
    const why = this.#whyNot(error, begun);
    if (this.#status !== null && this.#status >= 400) return this.#refuse(why);
    if (isNotHttp(error))
      return void this.#failUnlessTls('foreign_answer', 'it answers with something that is not HTTP');
    const reason = this.#reasonOf(error, code);
    if (reason === 'reset') return void this.#failUnlessTls(reason, why);
    this.#fail(reason, why);
  }

  #whyNot(error: Error, begun: boolean): string {
    const { proxy, base } = this.#settings;
    if (error instanceof ProxyRefusal) return error.message;
    // A proxy that is given whole addresses is the one that we connect to.
    const isProxys = proxy !== null && base.protocol === 'http:' && this.#controller === null;
    return isProxys ? unreachable(proxy, error) : describeError(error, { host: base.hostname, begun });
  }

  /** To plain HTTP, a TLS port looks like a server that hangs up, or like one that speaks no HTTP. */
  async #failUnlessTls(reason: 'reset' | 'foreign_answer', why: string): Promise<void> {
    if (await this.#settings.tlsCheck.speaksTls())
      return this.#fail('foreign_answer', 'it speaks TLS, and the address says http: write https');
    this.#fail(reason, why);
  }

  #reasonOf(error: Error, code: string): UpstreamFailure['reason'] {
    if (code === 'UND_ERR_DESTROYED' || code === 'UND_ERR_CLOSED') return 'aborted';
    if (this.#controller === null) return 'unreachable';
    // Once an answer has begun, the answer is bad: a retry may meet the same fault for ever.
    const begun = this.#status !== null || BROKEN_HEADS.has(error.name);
    // undici says `bad …` of an answer that nobody asked for, and of a switch of protocols.
    return begun || error.message.startsWith('bad ') ? 'bad_answer' : 'reset';
  }

  /** An error keeps its status and loses its body. A success without a usable body is a failure. */
  #refuse(why: string, reason: 'bad_answer' | 'foreign_answer' = 'bad_answer'): void {
    const status = this.#status ?? 0;
    if (status < 400) return this.#fail(reason, why);
    this.#answer(status, errorAnswer(status, this.#redact(why)));
  }

  #tooLong(): string {
    return `its answer is longer than ${this.#settings.responseBytesMax} bytes`;
  }

  #answer(status: number, answer: AnswerBody): void {
    const { base, clock } = this.#settings;
    const reply = answerReply(answer, { status, headers: this.#headers, clock });
    const isPath = status === 404 || status === 405;
    this.#settle(isPath ? { ...reply, asked: describeAsked(this.#asked, base) } : reply);
  }

  #fail(reason: UpstreamFailure['reason'], why: string): void {
    this.#settle({
      kind: 'failure',
      reason,
      message: this.#redact(why).slice(0, 500),
      status: this.#status,
    });
  }

  #redact(text: string): string {
    const { secret } = this.#settings;
    return secret === null ? text : text.replaceAll(secret, '***');
  }

  #settle(reply: UpstreamReply): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#settings.underWay.delete(this.#place);
    this.#resolve(reply);
    // A call that ended early must give up its connection. After a whole answer there is no controller.
    this.#controller?.abort(CALL_OVER);
  }
}

const isNotHttp = (error: Error): boolean =>
  error.name === 'HTTPParserError' && error.message.includes('Expected HTTP/');

/** undici throws these for an answer whose head it refuses. */
const BROKEN_HEADS = new Set([
  'HTTPParserError',
  'HeadersOverflowError',
  'ResponseContentLengthMismatchError',
]);
const NOT_SENT = (): void => {};
const EMPTY = Buffer.alloc(0);
const CALL_OVER = new Error('the call is over');

function grown(body: Buffer, bytes: number): Buffer {
  const larger = Buffer.allocUnsafe(bytes);
  larger.set(body);
  return larger;
}
