import { connect } from 'node:tls';

/**
 * Finds out whether a server at an http address speaks TLS, as such a server hangs up without a word. It asks once, when a
 * connection fails before the server ever answered.
 */
export class TlsCheck {
  readonly #base: URL;
  #answer: Promise<boolean> | undefined;

  constructor(base: URL, proxy: URL | null) {
    this.#base = base;
    if (base.protocol !== 'http:' || proxy !== null) this.pass();
  }

  /** The server is known to speak what its address says. */
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
  // Nothing is sent, so it does not matter whose certificate it is.
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
