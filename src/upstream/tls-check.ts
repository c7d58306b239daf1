import { connect } from 'node:tls';

/**
 * Whether a server at an http address speaks TLS, looked up once, when a connection fails before it ever answered: such a
 * server hangs up without a word.
 */
export class TlsCheck {
  readonly #base: URL;
  #answer: Promise<boolean> | undefined;

  constructor(base: URL, proxy: URL | null) {
    this.#base = base;
    if (base.protocol !== 'http:' || proxy !== null) this.pass();
  }

  /** It is known to be what its address says. */
  pass(): void {
    this.#answer ??= NO;
  }

  speaksTls(): Promise<boolean> {
    this.#answer ??= shakesHands(this.#base);
    return this.#answer;
  }
}

const NO = Promise.resolve(false);
const HANDSHAKE_TIMEOUT_MS = 2_000;

function shakesHands({ hostname, port }: URL): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const host = hostname.replace(/^\[|\]$/g, '');
  // Nothing is sent: whose certificate it is does not matter here.
  const socket = connect({ host, port: Number(port || 80), rejectUnauthorized: false });
  socket.setTimeout(HANDSHAKE_TIMEOUT_MS, () => socket.destroy());
  socket.once('secureConnect', () => {
    resolve(true);
    socket.destroy();
  });
  socket.on('error', () => {}); // `close` follows.
  socket.once('close', () => resolve(false));
  return promise;
}
