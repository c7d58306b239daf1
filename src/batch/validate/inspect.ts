import {
  type BatchEndpoint,
  type BatchError,
  type BatchErrors,
  LINE_BYTES_MAX,
  REQUESTS_MAX,
} from '../../contract/batch.ts';
import { IMAGE_LINES_MAX, type Inspection } from '../../contract/inspection.ts';
import { type Line, LineSplitter, type OversizedLine } from '../../core/lines.ts';
import { ErrorList, withFileError } from './errors.ts';
import { type Fault, faultOfLine, OVERSIZED_LINE, quote, toBatchError } from './faults.ts';
import { carriesImage } from './images.ts';
import { RequestChecker, type RequestFacts } from './request.ts';
import { LineScanner } from './scan.ts';
import { SegmentPlanner } from './segments.ts';

/** The one pass over an input: reads every line once and notes the first fault of each. */
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

/** A value that all lines must share, from the first line that has a valid one. */
interface Reference<T> {
  readonly value: T;
  readonly line: number;
}

/** What the lines so far have told. */
class Pass {
  readonly #scanner = new LineScanner();
  readonly #checker = new RequestChecker();
  readonly #errors = new ErrorList();
  readonly #segments = new SegmentPlanner();
  readonly #lineOfCustomId = new Map<string, number>();
  #model: Reference<string> | undefined;
  #url: Reference<BatchEndpoint> | undefined;
  #firstLine = 0;
  #requests = 0;
  #tokens = 0;
  #modelFaults = 0;
  readonly #imageLines: number[] = [];
  #imageLinesOmitted = 0;

  get tooMany(): boolean {
    return this.#requests > REQUESTS_MAX;
  }

  add(line: Line | OversizedLine): void {
    this.#requests++;
    const fault = line.bytes === undefined ? OVERSIZED_LINE : this.#inspect(line);
    if (!fault) return;
    if (fault.param === 'body.model') this.#modelFaults++;
    this.#errors.add(toBatchError(line.line, fault));
  }

  inspection(): Inspection {
    const errors = this.#allErrors();
    return {
      requests: this.#requests,
      tokens: this.#tokens,
      model: this.#model?.value ?? null,
      url: this.#url?.value ?? null,
      firstLine: this.#firstLine,
      errors,
      imageLines: this.#imageLines,
      imageLinesOmitted: this.#imageLinesOmitted,
      segments: errors ? [] : this.#segments.segments(),
    };
  }

  #inspect(line: Line): Fault | undefined {
    const shape = this.#scanner.scan(line.bytes);
    if (shape.kind !== 'request') return faultOfLine(line.bytes, shape);
    this.#tokens += shape.tokens;
    const facts = this.#checker.check(line.bytes, shape);
    this.#note(line.line, facts);
    const twin = this.#twin(line.line, facts.customId);
    const fault = facts.fault ?? mismatchOf(facts, this.#url, this.#model) ?? twin;
    if (fault) return fault;
    this.#segments.add(line);
    if (shape.body && carriesImage(line.bytes, shape.body)) this.#noteImage(line.line);
    return undefined;
  }

  #noteImage(line: number): void {
    if (this.#imageLines.length < IMAGE_LINES_MAX) this.#imageLines.push(line);
    else this.#imageLinesOmitted++;
  }

  #note(line: number, { url, model }: RequestFacts): void {
    if (url !== undefined) this.#url ??= { value: url, line };
    if (model !== undefined) this.#model ??= { value: model, line };
    if (url !== undefined && model !== undefined) this.#firstLine ||= line;
  }

  /** Notes the custom_id, also of a line with another fault, so that fixing that one brings no new surprise. */
  #twin(line: number, customId: string | undefined): Fault | undefined {
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
    };
  }

  #allErrors(): BatchErrors | null {
    if (this.#requests === 0) return withFileError(null, EMPTY_FILE);
    const errors = this.#errors.result();
    if (this.tooMany) return withFileError(errors, TOO_MANY_TASKS);
    return this.#modelFaults > 0 && !this.#model ? withFileError(errors, NO_MODEL) : errors;
  }
}

function mismatchOf(
  facts: RequestFacts,
  url: Reference<BatchEndpoint> | undefined,
  model: Reference<string> | undefined,
): Fault | undefined {
  if (url && facts.url !== url.value) {
    return {
      code: 'url_mismatch',
      param: 'url',
      message: `url ${quote(facts.url ?? '')} does not match ${quote(url.value)} on line ${url.line}. Please ensure all request URLs are the same.`,
    };
  }
  if (model && facts.model !== model.value) {
    return {
      code: 'model_mismatch',
      param: 'body.model',
      message: `model ${quote(facts.model ?? '')} does not match ${quote(model.value)} on line ${model.line}. Please ensure that all requests in the batch point to the same deployment in the model property of the request.`,
    };
  }
  return undefined;
}

const fileError = (code: BatchError['code'], message: string, param: string | null = null): BatchError => ({
  code,
  message,
  param,
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
const NO_MODEL = fileError(
  'invalid_request',
  "Validation failed: A valid model deployment name couldn't be extracted from the input file. Please ensure that each row in the input file has a valid deployment name specified in the 'model' field, and that the deployment name is consistent across all rows.",
  'body.model',
);
