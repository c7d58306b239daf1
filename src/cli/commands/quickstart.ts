import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { createApp } from '../../app.ts';
import { resolveConfig } from '../../config/config.ts';
import { OPTIONS } from '../../config/options.ts';
import { defaultValues } from '../../config/sections.ts';
import { silentLog } from '../../core/log.ts';
import { Client } from '../client/batch-client.ts';
import { resolveEndpoint } from '../client/endpoint.ts';
import { exitCodeOf, watchBatch } from '../client/watch-batch.ts';
import { targetAt } from '../local-files/target.ts';
import { commandName, EXAMPLE, exampleArgument } from '../process/command-name.ts';
import { CliError, die, EXIT, type ExitCode } from '../process/exit.ts';
import { stopAsked } from '../process/signals.ts';
import { oneLine, print, printJson } from '../terminal/print.ts';

/** The answers are slow enough for a person to see the progress. */
const LATENCY_MS = 400;
const POLL_MS = 100;

/** Starts the real service on an embedded store, and uses it over HTTP as any client does. */
export async function quickstart({ json = false }: { readonly json?: boolean }): Promise<ExitCode> {
  const say = json ? () => {} : print;
  const dataDir = await mkdtemp(join(tmpdir(), 'offpeak-quickstart-'));
  const config = resolveConfig({
    ...defaultValues(),
    port: 0,
    dataDir,
    ballastBytes: 0,
    concurrencyMax: 1,
    simulatorLatencyMs: LATENCY_MS,
  });
  const stop = stopAsked();
  const app = await createApp(config, { log: silentLog, onFatal: die });
  try {
    const { url } = await app.listen();
    say(`service   ${url}, with a store of its own`);
    say(`deployed  the simulator, as ${config.resources[0]?.deployments[0]?.name ?? ''}`);
    const client = new Client(resolveEndpoint({ endpoint: url, apiKey: app.firstKeys.apiKey ?? '' }, {}));
    const example = { path: EXAMPLE, name: EXAMPLE, filename: basename(EXAMPLE) };
    const file = await client.upload(example, { purpose: 'batch' });
    say(`uploaded  ${EXAMPLE}\n          as ${file.id}`);
    const { id } = await client.createBatch({
      input_file_id: file.id,
      endpoint: '/chat/completions',
      completion_window: '24h',
    });
    say(`created   ${id}\n`);
    const batch = await watchBatch(client, id, { json: false, pollMs: POLL_MS, signal: stop.signal });
    if (batch === 'stopped') return EXIT.interrupted;
    if (!batch.output_file_id || !batch.error_file_id) {
      throw new CliError(`the batch is ${batch.status} and has no files`, EXIT.failed);
    }
    const { output, errors } = await resultPaths();
    await client.download(batch.output_file_id, await targetAt(output));
    await client.download(batch.error_file_id, await targetAt(errors));
    const answers = await pairUp(output);
    if (json) printJson({ batch: id, status: batch.status, answers, output, errors });
    else print(report(answers, { output, errors }));
    return exitCodeOf(batch);
  } finally {
    await app.close({ drainMs: 0 });
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** `serve` keeps its data in this directory by default, so it must be as private as that. */
async function resultPaths(): Promise<{ output: string; errors: string }> {
  const dir = resolve(OPTIONS.dataDir.default, 'quickstart');
  await mkdir(resolve(OPTIONS.dataDir.default), { recursive: true, mode: 0o700 });
  await mkdir(dir, { recursive: true });
  return { output: join(dir, 'output.jsonl'), errors: join(dir, 'errors.jsonl') };
}

const Request = z.object({
  custom_id: z.string(),
  body: z.object({ messages: z.array(z.object({ role: z.string(), content: z.string() })) }),
});
const Result = z.object({
  custom_id: z.string(),
  response: z.object({
    body: z.object({ choices: z.array(z.object({ message: z.object({ content: z.string() }) })) }),
  }),
});

interface Answer {
  readonly custom_id: string;
  readonly question: string;
  readonly answer: string;
}

async function pairUp(output: string): Promise<Answer[]> {
  const requests = (await readLines(EXAMPLE)).map((line) => Request.parse(line));
  const results = (await readLines(output)).map((line) => Result.parse(line));
  return results.map(({ custom_id, response }) => ({
    custom_id,
    question:
      requests.find((request) => request.custom_id === custom_id)?.body.messages.at(-1)?.content ?? '',
    answer: response.body.choices[0]?.message.content ?? '',
  }));
}

const readLines = async (path: string): Promise<unknown[]> =>
  (await readFile(path, 'utf8'))
    .split('\n')
    .filter(Boolean)
    .map((line): unknown => JSON.parse(line));

const report = (
  answers: readonly Answer[],
  { output, errors }: { output: string; errors: string },
): string => `
${answers.map(({ custom_id, question, answer }) => `${custom_id}  ${oneLine(question)}\n        ${oneLine(answer)}`).join('\n')}

output    ${output}
errors    ${errors}

Next:
  ${commandName()} serve
      the service stays up, and prints its key
  ${commandName()} run ${exampleArgument()} -o out.jsonl --upstream simulator
      a batch without a service
  ${commandName()} serve --upstream http://127.0.0.1:8000/v1 --deployment gpt-4o-batch-deployment=MODEL
      real answers, from a model server of yours`;
