import { ProxyAgent, request } from 'undici';
import { z } from 'zod';
import { proxiesOf } from '../../../core/proxy.ts';
import { judgeProbe } from '../../../deployments/fleet/upstream-check.ts';
import { reasonOfCall } from '../../client/connection-error.ts';
import { CliError, EXIT } from '../../process/exit.ts';
import type { Job } from './job.ts';

const PROBE_MS = 10_000;

export interface Probed {
  readonly isSimulator: boolean;
  /** A sentence about what may be wrong with the upstream; null: nothing is. */
  readonly doubt: string | null;
}

const Models = z.object({ data: z.array(z.object({ id: z.string() })) });

/** Finds out, before the first request, whether the upstream is there, takes the key, is a simulator, and lists the model. */
export async function probeUpstream(
  { upstream, sent: { model } }: Job,
  { apiKey }: { readonly apiKey: string | null },
): Promise<Probed> {
  switch (upstream.kind) {
    case 'simulator':
      return { isSimulator: true, doubt: null };
    case 'http':
      return probeServer(upstream.url, { model, apiKey });
  }
}

async function probeServer(
  url: string,
  { model, apiKey }: { readonly model: string; readonly apiKey: string | null },
): Promise<Probed> {
  const proxy = proxiesOf(process.env)(new URL(url));
  const dispatcher = proxy === null ? undefined : new ProxyAgent(proxy.href);
  try {
    const { statusCode, headers, body } = await request(`${url}/models`, {
      headers: apiKey === null ? {} : { authorization: `Bearer ${apiKey}`, 'api-key': apiKey },
      signal: AbortSignal.timeout(PROBE_MS),
      ...(dispatcher && { dispatcher }),
    });
    const { data: list } = Models.safeParse(statusCode === 200 ? await body.json().catch(() => null) : null);
    if (list === undefined) await body.dump();
    const isSimulator = headers['x-offpeak-simulated'] === 'true';
    if (statusCode !== 401) {
      const ids = (list?.data ?? []).map(({ id }) => id);
      const { state, reason } = judgeProbe({ kind: 'models', ids }, { modelsThere: [model] });
      return {
        isSimulator,
        doubt: state === 'unready' && !isSimulator ? `${url} ${reason}. --model MODEL names another.` : null,
      };
    }
  } catch (error) {
    // The upstream is there but slow. The run itself will find out more.
    if (error instanceof Error && error.name === 'TimeoutError') return { isSimulator: false, doubt: null };
    const reason = await reasonOfCall(new URL(url), error);
    throw new CliError(`Cannot reach the upstream ${url}: ${reason}. Nothing was sent.`, EXIT.unreachable, {
      cause: error,
    });
  } finally {
    await dispatcher?.destroy();
  }
  const advice = apiKey === null ? 'Give one with --upstream-api-key.' : 'Check --upstream-api-key.';
  throw new CliError(
    `The upstream ${url} wants another key (401). ${advice} Nothing was sent.`,
    EXIT.unreachable,
  );
}
