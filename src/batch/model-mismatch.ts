import type { FaultOfLine } from '../contract/inspection.ts';
import { quote } from '../core/quote.ts';

/** A line that names another model than the rest of its file. */
export const modelMismatch = (
  model: string,
  right: { readonly name: string; readonly line: number },
): FaultOfLine => ({
  code: 'model_mismatch',
  param: 'body.model',
  message: `model ${quote(model)} does not match ${quote(right.name)} on line ${right.line}. Please ensure that all requests in the batch point to the same deployment in the model property of the request.`,
  openai: {
    code: 'mismatched_model',
    message: `The model ${quote(model)} for this request does not match the rest of the batch, ${quote(right.name)} on line ${right.line}. Each batch must contain requests for a single model.`,
  },
});
