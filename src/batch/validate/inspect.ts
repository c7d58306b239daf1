import {
  BATCH_ERRORS_MAX,
  type BatchEndpoint,
  type BatchError,
  LINE_BYTES_MAX,
  REQUESTS_MAX,
} from '../../contract/batch.ts';
import {
  IMAGE_LINES_MAX,
  LINE_GROUPS_MAX,
  type InputFault,
  type InputFaults,
  type Inspection,
  type LineRun,
  type FaultOfLine,
  type LineGroup,
} from '../../contract/inspection.ts';
import { quote } from '../../core/quote.ts';
import { modelMismatch } from '../model-mismatch.ts';
import { type SourceLine, LineSplitter, type OversizedLine } from '../../core/lines.ts';
import { FaultList, withFileError } from './fault-list.ts';
import { faultOfLine, OVERSIZED_LINE, toInputFault } from './line-faults.ts';
import { carriesImage } from './images.ts';
import { RequestChecker, type RequestFacts } from './request.ts';
import { LineScanner } from './scan.ts';
import { SegmentPlanner } from './segments.ts';

/** Makes the one pass over an input: reads every line once and notes the first fault of each. */
export async function inspectInput(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Inspection> {
  const pass = new Pass();
  const splitter = new LineSplitter({ lineBytesMax: LINE_BYTES_MAX });
  for await (const chunk of chunks) {
    for (const line of splitter.push(chunk)) {
      pass.add(line);
      if (pass.tooMany) return pass.inspection();
    }
  }
  for (const line of splitter.end()) pass.add(line);
  return pass.inspection();
}

/** The model of the first line that names a valid one. */
interface FirstModel {
  readonly name: string;
  readonly line: number;
}

/** What is known after the lines so far. */
class Pass {
  readonly #scanner = new LineScanner();
  readonly #checker = new RequestChecker();
  readonly #faults = new FaultList();
  readonly #segments = new SegmentPlanner();
  readonly #lineOfCustomId = new Map<string, number>();
  readonly #groups = new Map<string, GroupCount>();
  #group: GroupCount | undefined;
  #model: FirstModel | undefined;
  #requests = 0;
  #tokens = 0;
  #modelFaults = 0;
  readonly #imageLines: number[] = [];
  #imageLinesOmitted = 0;

  get tooMany(): boolean {
    return this.#requests > REQUESTS_MAX;
  }

  add(line: SourceLine | OversizedLine): void {
    this.#requests++;
    const fault = line.bytes === undefined ? OVERSIZED_LINE : this.#inspect(line);
    if (!fault) return;
    if (fault.param === 'body.model') this.#modelFaults++;
    this.#faults.add(toInputFault(line.line, fault));
  }

  inspection(): Inspection {
    const errors = this.#allErrors();
    return {
      requests: this.#requests,
      tokens: this.#tokens,
      model: this.#model?.name ?? null,
      groups: [...this.#groups.values()].map((group) => group.result()),
      errors,
      imageLines: this.#imageLines,
      imageLinesOmitted: this.#imageLinesOmitted,
      segments: errors ? [] : this.#segments.segments(),
    };
  }

  #inspect(line: SourceLine): FaultOfLine | undefined {
    const shape = this.#scanner.scan(line.bytes);
    if (shape.kind !== 'request') return faultOfLine(line.bytes, shape);
    this.#tokens += shape.tokens;
    const facts = this.#checker.check(line.bytes, shape);
    if (facts.model !== undefined) this.#model ??= { name: facts.model, line: line.line };
    const duplicate = this.#duplicateOf(line.line, facts.customId);
    const group = facts.url && this.#groupOf(facts.url, facts.model ?? null);
    const fault = facts.fault ?? duplicate ?? (group ? undefined : mismatchOf(facts, this.#model));
    group?.add(line.line, fault !== undefined);
    if (fault) return fault;
    this.#segments.add(line);
    if (shape.body && carriesImage(line.bytes, shape.body)) this.#noteImage(line.line);
    return undefined;
  }

  #noteImage(line: number): void {
    if (this.#imageLines.length < IMAGE_LINES_MAX) this.#imageLines.push(line);
    else this.#imageLinesOmitted++;
  }

  /** Returns undefined when there are too many already. */
  #groupOf(url: BatchEndpoint, model: string | null): GroupCount | undefined {
    if (this.#group?.url === url && this.#group.model === model) return this.#group;
    const key = JSON.stringify([url, model]);
    let group = this.#groups.get(key);
    if (!group) {
      if (this.#groups.size === LINE_GROUPS_MAX) return undefined;
      this.#groups.set(key, (group = new GroupCount(url, model)));
    }
    return (this.#group = group);
  }

  /**
   * Returns the fault of a custom_id that an earlier line has. The custom_id of a line with another fault is noted too, so
   * that mending that fault brings no new one.
   */
  #duplicateOf(line: number, customId: string | undefined): FaultOfLine | undefined {
    if (customId === undefined) return undefined;
    const first = this.#lineOfCustomId.get(customId);
    if (first === undefined) {
      this.#lineOfCustomId.set(customId, line);
      return undefined;
    }
    return {
      code: 'duplicate_custom_id',
      param: 'custom_id',
      message: `custom_id ${quote(customId)} was used on line ${first} already. Please ensure that the custom_id is unique for each request in the batch.`,
      openai: {
        code: 'duplicate_custom_id',
        message: `The custom_id ${quote(customId)} for this request is a duplicate of another request, on line ${first}. The custom_id parameter must be unique for each request in a batch.`,
      },
    };
  }

  #allErrors(): InputFaults | null {
    if (this.#requests === 0) return withFileError(null, EMPTY_FILE);
    const errors = this.#faults.result();
    if (this.tooMany) return withFileError(errors, TOO_MANY_TASKS);
    return this.#modelFaults > 0 && !this.#model ? withFileError(errors, NO_MODEL) : errors;
  }
}

/** Counts the requests of a group, and notes where the first of them are. */
class GroupCount {
  readonly url: BatchEndpoint;
  readonly model: string | null;
  #requests = 0;
  #faulty = 0;
  readonly #runs: [first: number, count: number][] = [];

  constructor(url: BatchEndpoint, model: string | null) {
    this.url = url;
    this.model = model;
  }

  add(line: number, isFaulty: boolean): void {
    if (isFaulty) this.#faulty++;
    if (this.#requests++ >= BATCH_ERRORS_MAX) return;
    const run = this.#runs.at(-1);
    if (run && run[0] + run[1] === line) run[1]++;
    else this.#runs.push([line, 1]);
  }

  result(): LineGroup {
    const { url, model } = this;
    const lines: readonly LineRun[] = this.#runs;
    return { url, model, requests: this.#requests, faulty: this.#faulty, lines };
  }
}

const mismatchOf = ({ model }: RequestFacts, first: FirstModel | undefined): FaultOfLine | undefined =>
  first && modelMismatch(model ?? '', first);

const fileError = (code: BatchError['code'], message: string): InputFault => ({
  code,
  message,
  param: null,
  line: null,
});

const EMPTY_FILE = fileError(
  'empty_file',
  'The input file is empty. Please ensure that the batch contains at least one request.',
);
const TOO_MANY_TASKS = fileError(
  'too_many_tasks',
  `The number of requests in the input file exceeds the maximum allowed value of ${REQUESTS_MAX.toLocaleString('en')}. Please split the file and make a batch of each part.`,
);
/** `openai` is null because OpenAI says this of each line, and not of the file. */
const NO_MODEL: InputFault = {
  code: 'invalid_request',
  message:
    "Validation failed: A valid model deployment name couldn't be extracted from the input file. Please ensure that each row has a valid deployment name specified in the 'model' field, and that the deployment name is consistent across all rows.",
  param: 'body.model',
  line: null,
  openai: null,
};
