import { asObject, type JsonObject } from './json.ts';

export interface LocalServer {
  /** The product, such as `Ollama`. It is `A model server` when nothing tells which one. */
  readonly name: string;
  /** Users give it as `--upstream`. */
  readonly baseUrl: string;
  readonly models: readonly string[];
}

interface Candidate {
  readonly port: number;
  /** A product that alone answers this path. */
  readonly own?: { readonly name: string; readonly path: string };
}

export interface DetectOptions {
  /** The port of Offpeak itself, which is not asked. */
  readonly skipPort?: number;
  readonly timeoutMs?: number;
  readonly candidates?: readonly Candidate[];
}

/** Model servers listen here by default. */
const LOCAL_SERVERS: readonly Candidate[] = [
  { port: 11434, own: { name: 'Ollama', path: '/api/version' } },
  { port: 8000 },
  { port: 8080 },
  { port: 1234 },
];

/** A port does not tell what listens there. The list of models does, by the owner that it names. */
const NAMES: Readonly<Record<string, string>> = {
  vllm: 'vLLM',
  sglang: 'SGLang',
  llamacpp: 'llama.cpp',
  organization_owner: 'LM Studio',
  simulator: "Offpeak's simulator",
};

/** Asks loopback for running model servers, all at once. What it finds is a hint to a person, and is never used silently. */
export async function detectLocalServers(options: DetectOptions = {}): Promise<LocalServer[]> {
  const { skipPort, timeoutMs = 300, candidates = LOCAL_SERVERS } = options;
  const asked = candidates.filter(({ port }) => port !== skipPort);
  const found = await Promise.all(asked.map((candidate) => probe(candidate, timeoutMs)));
  return found.filter((server) => server !== null);
}

async function probe({ port, own }: Candidate, timeoutMs: number): Promise<LocalServer | null> {
  const origin = `http://127.0.0.1:${port}`;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const [isOwn, list] = await Promise.all([
      own === undefined ? {} : getJson(origin + own.path, signal),
      getJson(`${origin}/v1/models`, signal),
    ]);
    const models = isOwn && list && idsOf(list);
    if (models === undefined || list === undefined) return null;
    return { name: own?.name ?? nameOf(list), baseUrl: `${origin}/v1`, models };
  } catch {
    return null; // Nothing listens there, or nothing that we know.
  }
}

const ANSWER_BYTES_MAX = 1024 * 1024;

/** Returns undefined when the answer is no success or no JSON object. */
async function getJson(url: string, signal: AbortSignal): Promise<JsonObject | undefined> {
  const response = await fetch(url, { signal, redirect: 'error' });
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_BYTES_MAX) return undefined;
  }
  return response.ok ? asObject(JSON.parse(text)) : undefined;
}

function nameOf({ data }: JsonObject): string {
  const [first] = Array.isArray(data) ? (data as readonly unknown[]) : [];
  const owner = asObject(first)?.['owned_by'];
  return (typeof owner === 'string' && Object.hasOwn(NAMES, owner) && NAMES[owner]) || 'A model server';
}

const MODELS_MAX = 20;

/** Returns undefined when it is no list of models. */
function idsOf({ data }: JsonObject): string[] | undefined {
  if (!Array.isArray(data)) return undefined;
  return data
    .map((model: unknown) => asObject(model)?.['id'])
    .filter((id): id is string => typeof id === 'string' && PRINTABLE.test(id))
    .slice(0, MODELS_MAX);
}

/** The ids are shown in a terminal, so they have no control characters. */
const PRINTABLE = /^[\x20-\x7e]{1,200}$/;
