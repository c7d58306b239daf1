/** The query parameter `api-version`, and why each surface may refuse it. Source: docs/contract.md §0, §7. */
import { ApiError } from '../../contract/error.ts';

export const CLASSIC_VERSIONS = [
  '2024-07-01-preview',
  '2024-08-01-preview',
  '2024-09-01-preview',
  '2024-10-01-preview',
  '2024-10-21',
  '2024-12-01-preview',
  '2025-01-01-preview',
  '2025-02-01-preview',
  '2025-03-01-preview',
  '2025-04-01-preview',
] as const;

export const classicVersion = (query: string): (typeof CLASSIC_VERSIONS)[number] | undefined =>
  CLASSIC_VERSIONS.find((supported) => supported === apiVersion(query));

export function classicRefusal(query: string): ApiError | undefined {
  if (classicVersion(query) !== undefined) return repeatRefusal(query);
  if (apiVersion(query) === null) return new ApiError('routeNotFound', 'Resource not found');
  const supported = CLASSIC_VERSIONS.join(', ');
  return new ApiError('badRequest', `API version not supported. Supported versions: ${supported}.`);
}

export function v1Refusal(query: string): ApiError | undefined {
  const version = apiVersion(query);
  if (version === null || version === 'v1' || version === 'preview') return repeatRefusal(query);
  return new ApiError('badRequest', 'api-version query parameter is not allowed when using /v1 path');
}

export function controlPlaneRefusal(query: string): ApiError | undefined {
  const version = apiVersion(query);
  if (version === null || version === '')
    return new ApiError(
      'missingApiVersion',
      'The api-version query parameter (?api-version=) is required for all requests.',
    );
  if (/^\d{4}-\d{2}-\d{2}(?:-preview)?$/.test(version)) return repeatRefusal(query);
  return new ApiError(
    'badRequest',
    `The api-version '${version.slice(0, 40)}' is invalid. It must be a date, as 2025-09-01 or 2025-10-01-preview.`,
  );
}

/** Two readers of such a request could see two different versions. */
export function repeatRefusal(query: string): ApiError | undefined {
  if (apiVersions(query).length < 2) return undefined;
  return new ApiError('badRequest', 'The query parameter api-version was sent twice. Send it once.');
}

const apiVersion = (query: string): string | null => apiVersions(query)[0] ?? null;

/** The original reads the names of parameters in any case. */
const apiVersions = (query: string): string[] =>
  [...new URLSearchParams(query)]
    .filter(([name]) => name.toLowerCase() === 'api-version')
    .map(([, value]) => value);
