import { request } from 'undici';
import { CliError, EXIT } from './exit.ts';
import { reasonOf } from './reason.ts';

const PROBE_MS = 10_000;

/** Finds out before the first request that an upstream is not there or does not know the key. */
export async function probeUpstream(url: string, apiKey: string | null): Promise<void> {
  if (url === 'simulator') return;
  try {
    const { statusCode, body } = await request(`${url}/models`, {
      headers: apiKey === null ? {} : { authorization: `Bearer ${apiKey}`, 'api-key': apiKey },
      signal: AbortSignal.timeout(PROBE_MS),
    });
    await body.dump();
    if (statusCode !== 401) return;
  } catch (error) {
    // It is there, only slow: the run will see.
    if (error instanceof Error && error.name === 'TimeoutError') return;
    throw new CliError(
      `Cannot reach the upstream ${url}: ${reasonOf(error)}. Nothing was sent.`,
      EXIT.unreachable,
      {
        cause: error,
      },
    );
  }
  const advice = apiKey === null ? 'Give one with --upstream-api-key.' : 'Check --upstream-api-key.';
  throw new CliError(
    `The upstream ${url} wants another key (401). ${advice} Nothing was sent.`,
    EXIT.unreachable,
  );
}
