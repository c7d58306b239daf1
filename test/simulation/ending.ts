import type { Batch } from '../../src/contract/batch.ts';
import { isTerminal } from '../../src/contract/batch.ts';
import { isAccepted } from '../../src/serving/classify.ts';
import { BLOB_DIR, blobPath } from './blob-path.ts';
import type { Job, JobLine } from './plan.ts';
import type { Call } from './sim-upstream.ts';
import type { World } from './world.ts';

export interface EndingFacts {
  readonly batch: Batch;
  readonly job: Job;
  readonly world: World;
  /** Where the bytes of a published file are. */
  readonly blobIdOf: (fileId: string) => string;
  /** Of this batch, over all processes. */
  readonly calls: readonly Call[];
  readonly wasCancelled: boolean;
  /** Its input was deleted before it was accepted. */
  readonly mayLackInput: boolean;
  readonly crashes: number;
  /** ADR 20: the trouble of its server may have cost this line. */
  readonly mayPay: (line: JobLine) => boolean;
  readonly require: (condition: unknown, promise: string, what: string) => void;
}

interface ResultLine {
  readonly id: string;
  readonly custom_id: string;
  readonly response: { status_code: number; request_id: string; body: { id?: string; line?: string } } | null;
  readonly error: { code: string; message: string } | null;
}

const BURNT_LINES_MAX = 20;
/** Last lines are tried for longer than this after they have failed. */
const TAIL_MIN_MS = 2 * 60_000;
const REFUSALS = [401, 403, 404];
/** Ends of the process after which a line may be blamed: three with its segment, two alone. */
const BLAME_CRASHES = 5;
const USAGE_KEYS = ['inputTokens', 'cachedTokens', 'outputTokens', 'reasoningTokens'] as const;

/** How one batch ended: P4, P13, P15, P16, P19 and P20 from its two files and the ledger. */
export class Ending {
  readonly #facts: EndingFacts;
  /** Lines that failed only because their deployment was refused for a while. */
  #burnt = 0;

  constructor(facts: EndingFacts) {
    this.#facts = facts;
  }

  check(): void {
    const { batch, job, wasCancelled, mayLackInput, require, world } = this.#facts;
    require(isTerminal(batch.status), 'P3', `${batch.id} is still ${batch.status}`);
    const { strictWindow } = world.plan.tuning;
    if (batch.status === 'failed') {
      const codes = batch.errors?.data.map(({ code }) => code) ?? [];
      const isFull = batch.errors?.data.some(
        ({ code, message }) => code === 'token_limit_exceeded' && world.mayLackRoom(job, message),
      );
      // A batch that had its deployment waits for it. Of two processes, one may not know yet that the other gave it one.
      const mayLackDeployment = batch.deployment === null || world.zombies > 0;
      const wasGone =
        codes.includes('model_not_found') && mayLackDeployment && world.changes.wasGone(job.deployment);
      const isExcused = job.hasBadLine || mayLackInput || isFull || wasGone;
      require(isExcused && codes.length > 0, 'P3', `${batch.id} failed: ${JSON.stringify(batch.errors)}`);
      require(this.#facts.calls.length === 0, 'P4', `${batch.id} failed after calls were made`);
      return;
    }
    require(batch.status !== 'cancelled' || wasCancelled, 'P6', `${batch.id} was cancelled by nobody`);
    require(batch.status !== 'expired' || strictWindow, 'P24', `${batch.id} expired`);
    require(batch.status !== 'completed' || !job.hasBadLine, 'P4', `${batch.id} completed with a bad line`);
    this.#checkFiles();
  }

  #checkFiles(): void {
    const { batch, job, require, world, blobIdOf } = this.#facts;
    // A batch that was cancelled before it was validated has no requests, and so no files.
    if (batch.counts.total === 0 && batch.status === 'cancelled') return;
    const read = (id: string, lines: number): ResultLine[] => {
      if (lines === 0 && batch.dialect === 'openai') return [];
      const text = world.fs.bytesAt(blobPath(BLOB_DIR, blobIdOf(id)))?.toString('utf8');
      require(text !== undefined, 'P11', `${id} of ${batch.id} is gone`);
      require(!text || text.endsWith('\n'), 'P11', `${id} of ${batch.id} is cut`);
      return (text ?? '')
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as ResultLine);
    };
    let output: ResultLine[];
    let errors: ResultLine[];
    try {
      output = read(batch.outputFileId, batch.counts.completed);
      errors = read(batch.errorFileId, batch.counts.failed);
    } catch (error) {
      return require(false, 'P11', `a file of ${batch.id} is not JSON lines: ${String(error)}`);
    }
    const { counts } = batch;
    require(output.length === counts.completed &&
      errors.length ===
        counts.failed, 'P4', `${batch.id} counts ${counts.completed} + ${counts.failed}, its files have ${output.length} + ${errors.length} lines`);
    require(counts.total ===
      counts.completed + counts.failed, 'P4', `${batch.id} counts ${JSON.stringify(counts)}`);
    this.#checkIds(output, errors);
    const lines = new Map(job.lines.map((line) => [line.customId, line]));
    for (const result of output) this.#checkAnswer(result, lines.get(result.custom_id));
    for (const result of errors) this.#checkError(result, lines.get(result.custom_id));
    this.#checkUsage(output);
    require(this.#burnt <=
      BURNT_LINES_MAX, 'P16', `${this.#burnt} lines of ${batch.id} were burnt by a refusing upstream`);
  }

  #checkIds(output: readonly ResultLine[], errors: readonly ResultLine[]): void {
    const { batch, job, require } = this.#facts;
    const order = new Map(job.lines.map(({ customId }, i) => [customId, i]));
    const seen = [...output, ...errors].map(({ custom_id }) => custom_id);
    const missing = job.lines.filter(({ customId }) => !seen.includes(customId));
    require(missing.length ===
      0, 'P4', `${batch.id} lacks ${missing.map(({ customId }) => customId).join()}`);
    require(new Set(seen).size === seen.length, 'P4', `${batch.id} has doubled results`);
    require(seen.length ===
      job.lines.length, 'P4', `${batch.id} has ${seen.length} results for ${job.lines.length} lines`);
    for (const file of [output, errors]) {
      const places = file.map(({ custom_id }) => order.get(custom_id) ?? -1);
      require(places.every(
        (place, i) => i === 0 || places[i - 1]! < place,
      ), 'P4', `a file of ${batch.id} is not in input order`);
    }
  }

  #checkAnswer({ custom_id, response, error }: ResultLine, line: JobLine | undefined): void {
    const { calls, require } = this.#facts;
    require(error === null &&
      response?.status_code ===
        200, 'P4', `${custom_id} is in the output file: ${JSON.stringify({ response, error })}`);
    require(response?.body.line ===
      line?.name, 'P4', `${custom_id} has the answer to ${response?.body.line}`);
    const call = calls.find(({ upstream, number }) => `${upstream}/${number}` === response?.body.id);
    require(call, 'P20', `${custom_id} has an answer that nobody gave: ${JSON.stringify(response)}`);
    const isAnswer = call?.reply != null && isAccepted(call.reply);
    require(isAnswer, 'P32', `${custom_id} has a failure for its answer: ${JSON.stringify(response)}`);
  }

  #checkError(result: ResultLine, line: JobLine | undefined): void {
    const { batch, calls, crashes, require, world } = this.#facts;
    const { custom_id, response, error } = result;
    if (!line) return;
    const own = calls.filter((call) => call.line === line.name);
    const what = `${custom_id} (${line.name}) of ${batch.id} failed: ${JSON.stringify(error ?? response)}`;
    if (error?.code === 'batch_cancelled') return require(batch.status === 'cancelled', 'P19', what);
    if (error?.code === 'batch_expired') return require(batch.status === 'expired', 'P24', what);
    if (error?.code === 'internal_error') {
      const toBlame = line.fate.kills > 0;
      const alone = world.plan.faults.length === 0;
      return require(toBlame || (!alone && crashes >= BLAME_CRASHES), 'P15', what);
    }
    require(own.length > 0, 'P4', `${what} without a call`);
    if (line.fate.lastly !== null || line.fate.fells !== null) return;
    if (world.plan.isExact) return require(this.#facts.mayPay(line), 'P32', what);
    // A line that is well in the end may fail only where the upstream let it wait for an answer again and again, or where
    // refusals had been held against it before so many lines had met them that the set-up was known to be at fault.
    const isDelayed = own.some(
      ({ down, reply }) => down && reply?.kind === 'failure' && reply.reason === 'timeout',
    );
    const isRefused = own.some(
      ({ down, reply }) => down && reply?.kind === 'answer' && REFUSALS.includes(reply.status),
    );
    if (isRefused && !this.#isLastLine(own)) this.#burnt += 1;
    require(isDelayed || isRefused, 'P13', what);
  }

  /** Last lines end after minutes of refusals (docs/adr/0020). That is no burst of lines before a pause. */
  #isLastLine(own: readonly Call[]): boolean {
    const [first, last] = [own[0], own.at(-1)];
    const triedMs = first && last ? last.startMs - first.startMs : 0;
    return this.#facts.batch.counts.completed > 0 && triedMs >= TAIL_MIN_MS;
  }

  /** The sum over the recorded answers, each counted once. */
  #checkUsage(output: readonly ResultLine[]): void {
    const { batch, calls, require } = this.#facts;
    const sum = { inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 };
    for (const { response } of output) {
      const call = calls.find(({ upstream, number }) => `${upstream}/${number}` === response?.body.id);
      for (const key of USAGE_KEYS) sum[key] += call?.usage[key] ?? 0;
    }
    require(USAGE_KEYS.every(
      (key) => sum[key] === batch.usage[key],
    ), 'P4', `${batch.id} used ${JSON.stringify(batch.usage)} by its row, ${JSON.stringify(sum)} by its answers`);
  }
}
