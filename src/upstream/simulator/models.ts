import type { BatchEndpoint } from '../../contract/batch.ts';

/** The simulator knows this of a model of the original. */
export interface ModelTraits {
  /** The original answers with this version when the request names none. */
  readonly version: string;
  readonly kind: 'chat' | 'embedding';
  /** Whether it reasons before it answers. Meanwhile it refuses the parameters of sampling. */
  readonly reasoning: 'always' | 'unless_none' | 'never';
  /** An answer has at most this many tokens. */
  readonly outputTokensMax: number;
  readonly contextTokensMax: number;
}

const chat = (version: string, outputTokensMax: number, contextTokensMax: number): ModelTraits => ({
  version,
  kind: 'chat',
  reasoning: 'never',
  outputTokensMax,
  contextTokensMax,
});
const reasoning = (
  version: string,
  contextTokensMax: number,
  mode: ModelTraits['reasoning'] = 'always',
): ModelTraits => ({ ...chat(version, 128_000, contextTokensMax), reasoning: mode });
const embedding = (version: string): ModelTraits => ({ ...chat(version, 0, 8_192), kind: 'embedding' });

/** These are the models of the built-in catalog, and those of embeddings. */
const MODELS: Readonly<Record<string, ModelTraits>> = {
  'gpt-5.4': reasoning('gpt-5.4-2026-03-05', 1_050_000, 'unless_none'),
  'gpt-5.4-mini': reasoning('gpt-5.4-mini-2026-03-17', 400_000, 'unless_none'),
  'gpt-5.1': reasoning('gpt-5.1-2025-11-13', 400_000, 'unless_none'),
  'gpt-5': reasoning('gpt-5-2025-08-07', 400_000),
  o3: reasoning('o3-2025-04-16', 200_000),
  'o3-mini': reasoning('o3-mini-2025-01-31', 200_000),
  'o4-mini': reasoning('o4-mini-2025-04-16', 200_000),
  'gpt-4.1': chat('gpt-4.1-2025-04-14', 32_768, 1_047_576),
  'gpt-4.1-mini': chat('gpt-4.1-mini-2025-04-14', 32_768, 1_047_576),
  'gpt-4.1-nano': chat('gpt-4.1-nano-2025-04-14', 32_768, 1_047_576),
  'gpt-4o': chat('gpt-4o-2024-08-06', 16_384, 128_000),
  'gpt-4o-mini': chat('gpt-4o-mini-2024-07-18', 16_384, 128_000),
  'gpt-4': chat('gpt-4-0613', 8_192, 8_192),
  'gpt-4-turbo': chat('gpt-4-turbo-2024-04-09', 4_096, 128_000),
  'gpt-35-turbo': chat('gpt-35-turbo-0125', 4_096, 16_385),
  'text-embedding-3-small': embedding('text-embedding-3-small'),
  'text-embedding-3-large': embedding('text-embedding-3-large'),
  'text-embedding-ada-002': embedding('text-embedding-ada-002'),
};

export const SIMULATED_MODELS: readonly string[] = Object.keys(MODELS);

/** Returns null for a model that is none of the original's. It takes whatever a server could. */
export function traitsOf(name: string): ModelTraits | null {
  const base = baseOf(name);
  return base === undefined ? null : (MODELS[base] ?? null);
}

/** Returns the model with its version, as answers name it, and not the deployment: `gpt-4o-batch-deployment` → `gpt-4o-2024-08-06`. */
export function modelVersionOf(name: string): string {
  if (/\d{4}-\d{2}-\d{2}$|-(0125|0301|0613|1106)$/.test(name)) return name;
  return traitsOf(name)?.version ?? name;
}

/** Whether the model reasons over this request, and so refuses the parameters of sampling. */
export function reasonsOver({ reasoning: mode }: ModelTraits, effort: unknown): boolean {
  if (mode === 'unless_none') return effort !== undefined && effort !== null && effort !== 'none';
  return mode === 'always';
}

/** An error names the operation like this when a model does not do it. */
export const OPERATIONS: Readonly<Record<BatchEndpoint, string>> = {
  '/chat/completions': 'chatCompletion',
  '/completions': 'completion',
  '/responses': 'responses',
  '/embeddings': 'embeddings',
};

/** Returns the longest known name that the text begins with. The rest is a version, or what a deployment's name adds. */
export const baseOf = (name: string): string | undefined =>
  SIMULATED_MODELS.filter((model) => name === model || name.startsWith(`${model}-`)).toSorted(
    (a, b) => b.length - a.length,
  )[0];
