/**
 * No resource may have these names. They begin our own URLs or are common names of hosts, and `/{resource}/openai/...` and
 * `{resource}.domain` must lead to the resource alone.
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
