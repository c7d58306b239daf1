/**
 * First words of our own URLs, and labels that hosts have for other things. No resource has such a name, since
 * `/{resource}/openai/...` and `{resource}.domain` must never lead elsewhere.
 */
export const RESERVED_NAMES: readonly string[] = [
  'admin',
  'api',
  'audit',
  'batches',
  'control',
  'deployments',
  'docs',
  'files',
  'healthz',
  'localhost',
  'locations',
  'login',
  'metrics',
  'models',
  'nowhere',
  'openai',
  'openapi.json',
  'portal',
  'providers',
  'subscriptions',
  'tenants',
  'uploads',
  'usages',
  'v1',
  'wire',
  'www',
];
