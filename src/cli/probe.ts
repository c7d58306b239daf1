import { request } from 'undici';
import { CliError, EXIT } from './exit.ts';
import { reasonOfCall } from './reason.ts';

const PROBE_MS = 10_000;

/**
 * Finds out before the first request that an upstream is not there or does not know the key, and whether it is a
 * simulator.
 */
export async function probeUpstream(url: string, apiKey: string | null): Promise<{ isSimulator: boolean }> {
  if (url === 'simulator') return { isSimulator: true };
  try {
    const { statusCode, headers, body } = await request(`${url}/models`, {
      headers: apiKey === null ? {} : { authorization: `Bearer ${apiKey}`, 'api-key': apiKey },
      signal: AbortSignal.timeout(PROBE_MS),
    });
    await body.dump();
    if (statusCode !== 401) return { isSimulator: headers['x-offpeak-simulated'] === 'true' };
  } catch (error) {
    // It is there, only slow: the run will see.
    if (error instanceof Error && error.name === 'TimeoutError') return { isSimulator: false };
    const reason = await reasonOfCall(new URL(url), error);
    throw new CliError(`Cannot reach the upstream ${url}: ${reason}. Nothing was sent.`, EXIT.unreachable, {
      cause: error,
    });
  }
  const advice = apiKey === null ? 'Give one with --upstream-api-key.' : 'Check --upstream-api-key.';
  throw new CliError(
    `The upstream ${url} wants another key (401). ${advice} Nothing was sent.`,
    EXIT.unreachable,
  );
}
