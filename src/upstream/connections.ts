import { Client, errors, type Dispatcher } from 'undici';

/** A request on its way, as undici's handler. Its last event is either `onResponseEnd` or `onResponseError`. */
export interface Exchange extends Dispatcher.DispatchHandler {
  /** True when nobody waits for its answer any more. */
  readonly isOver: boolean;
  /** It is set when the request is sent. Call it at the last event: its connection can then take another request. */
  release: () => void;
  onResponseError(controller: Dispatcher.DispatchController | null, error: Error): void;
}

interface Connection {
  readonly client: Client;
  readonly release: () => void;
}

interface Waiting {
  readonly request: Dispatcher.DispatchOptions;
  readonly exchange: Exchange;
}

/**
 * Keeps connections to one origin: as many as there are requests at a time, and at most `max`. The one that was used last is
 * used first. undici's `Pool` does the same, but asks each of its connections, twice, for every request. That costs an eighth
 * of the lines per second (docs/adr/0021).
 */
export class Connections {
  readonly #origin: string;
  readonly #options: Client.Options;
  readonly #max: number;
  readonly #all: Connection[] = [];
  readonly #free: Connection[] = [];
  readonly #waiting: Waiting[] = [];
  #closed = false;

  constructor(origin: string, { max, ...options }: { readonly max: number } & Client.Options) {
    this.#origin = origin;
    this.#options = options;
    this.#max = max;
  }

  /** Sends the request on a free connection, or as soon as there is one. */
  send(request: Dispatcher.DispatchOptions, exchange: Exchange): void {
    if (this.#closed) return exchange.onResponseError(null, new errors.ClientClosedError());
    const connection = this.#free.pop() ?? this.#another();
    if (connection === undefined) this.#waiting.push({ request, exchange });
    else dispatch(connection, { request, exchange });
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { exchange } of this.#waiting.splice(0))
      exchange.onResponseError(null, new errors.ClientClosedError());
    await Promise.all(this.#all.map(({ client }) => client.destroy()));
  }

  #another(): Connection | undefined {
    if (this.#all.length >= this.#max) return undefined;
    const connection: Connection = {
      client: new Client(this.#origin, this.#options),
      release: () => this.#release(connection),
    };
    this.#all.push(connection);
    return connection;
  }

  #release(connection: Connection): void {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift())
      if (!next.exchange.isOver) return dispatch(connection, next);
    this.#free.push(connection);
  }
}

function dispatch({ client, release }: Connection, { request, exchange }: Waiting): void {
  exchange.release = release;
  client.dispatch(request, exchange);
}
