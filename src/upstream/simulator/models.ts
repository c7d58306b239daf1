/** Base models and the version that the original answers with. */
const VERSIONS: Readonly<Record<string, string>> = {
  'gpt-4o': 'gpt-4o-2024-08-06',
  'gpt-4o-mini': 'gpt-4o-mini-2024-07-18',
  'gpt-4.1': 'gpt-4.1-2025-04-14',
  'gpt-4.1-mini': 'gpt-4.1-mini-2025-04-14',
  'gpt-4.1-nano': 'gpt-4.1-nano-2025-04-14',
  'gpt-4': 'gpt-4-0613',
  'gpt-35-turbo': 'gpt-35-turbo-0125',
  'o3-mini': 'o3-mini-2025-01-31',
  'o4-mini': 'o4-mini-2025-04-16',
};

export const SIMULATED_MODELS = [
  ...Object.keys(VERSIONS),
  'text-embedding-3-small',
  'text-embedding-3-large',
  'text-embedding-ada-002',
] as const;

/** Answers name the model with its version, not the deployment: `gpt-4o-batch-deployment` → `gpt-4o-2024-08-06`. */
export function modelVersionOf(name: string): string {
  let base = '';
  for (const model of Object.keys(VERSIONS))
    if (model.length > base.length && isOf(name, model)) base = model;
  return /\d{4}-\d{2}-\d{2}$/.test(name) ? name : (VERSIONS[base] ?? name);
}

const isOf = (name: string, model: string): boolean => name === model || name.startsWith(`${model}-`);
