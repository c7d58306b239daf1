export interface LocalServer {
  /** The product, as `Ollama`. */
  readonly name: string;
  /** For `--upstream`. */
  readonly baseUrl: string;
  readonly models: readonly string[];
}

interface Candidate {
  readonly name: string;
  readonly port: number;
  /** A path that only this product answers, where the port alone does not tell. */
  readonly ownPath?: string;
}

export interface DetectOptions {
  /** Offpeak's own. */
  readonly skipPort?: number;
  readonly timeoutMs?: number;
  readonly candidates?: readonly Candidate[];
}

/** Where these model servers listen when they are not told otherwise. */
const LOCAL_SERVERS: readonly Candidate[] = [
  { name: 'Ollama', port: 11434, ownPath: '/api/version' },
  { name: 'vLLM', port: 8000 },
  { name: 'llama.cpp', port: 8080 },
  { name: 'LM Studio', port: 1234 },
];

/** Asks loopback for running model servers, all at once. What it finds is a hint to a person, and never used silently. */
export async function detectLocalServers(options: DetectOptions = {}): Promise<LocalServer[]> {
  const { skipPort, timeoutMs = 300, candidates = LOCAL_SERVERS } = options;
  const asked = candidates.filter(({ port }) => port !== skipPort);
  const found = await Promise.all(asked.map((candidate) => probe(candidate, timeoutMs)));
  return found.filter((server) => server !== null);
}

async function probe({ name, port, ownPath }: Candidate, timeoutMs: number): Promise<LocalServer | null> {
  const origin = `http://127.0.0.1:${port}`;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const [own, list] = await Promise.all([
      ownPath === undefined ? {} : getJson(origin + ownPath, signal),
      getJson(`${origin}/v1/models`, signal),
    ]);
    const models = own && list && idsOf(list);
    return models === undefined ? null : { name, baseUrl: `${origin}/v1`, models };
  } catch {
    return null; // Nothing there, or nothing that we know.
  }
}

const ANSWER_BYTES_MAX = 1024 * 1024;

/** Undefined: not a JSON object, or not a success. */
async function getJson(url: string, signal: AbortSignal): Promise<object | undefined> {
  const response = await fetch(url, { signal, redirect: 'error' });
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_BYTES_MAX) return undefined;
  }
  const value: unknown = response.ok ? JSON.parse(text) : undefined;
  return typeof value === 'object' && value !== null ? value : undefined;
}

const MODELS_MAX = 20;

/** Undefined: not a list of models. */
function idsOf(list: object): string[] | undefined {
  const data: unknown = 'data' in list ? list.data : undefined;
  if (!Array.isArray(data)) return undefined;
  return data
    .map((model: unknown) =>
      typeof model === 'object' && model !== null && 'id' in model ? model.id : undefined,
    )
    .filter((id): id is string => typeof id === 'string' && PRINTABLE.test(id))
    .slice(0, MODELS_MAX);
}

/** The ids are shown in a terminal. */
const PRINTABLE = /^[\x20-\x7e]{1,200}$/;
