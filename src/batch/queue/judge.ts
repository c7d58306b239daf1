import type { BatchError, BatchErrors } from '../../contract/batch.ts';
import { BATCH_SKUS } from '../../contract/control.ts';
import { toldIn, type Inspection } from '../../contract/inspection.ts';
import type { Scope } from '../../contract/scope.ts';
import { assert } from '../../core/assert.ts';
import type { Deployment, Deployments } from '../../deployments/port.ts';
import { faultsFor, withAllOthers, type FaultOfLine, type Judged } from './faults.ts';

/** What an inspected file and a batch come to together: faults of the batch, or the deployment that will answer. */
export type Verdict =
  | { readonly kind: 'faulty'; readonly errors: BatchErrors }
  | { readonly kind: 'runnable'; readonly deployment: Deployment };

/** Does every line fit the batch, and is there a deployment that can answer them? Each line is told its first fault. */
export async function judge(
  scope: Scope,
  inspection: Inspection,
  batch: Judged,
  deployments: Deployments,
): Promise<Verdict> {
  const { model } = inspection;
  const ofLines = faultsFor(inspection, batch);
  const deployment = model === null ? undefined : await deployments.find(scope, model);
  const refusal = model === null ? null : await refusalOf(scope, { model, deployment }, deployments);
  const all = refusal === null ? ofLines : withAllOthers(ofLines, inspection, batch, refusal);
  if (all !== null) return { kind: 'faulty', errors: toldIn(batch.dialect, all) };
  assert(deployment, 'a file without faults names no deployment');
  const images = deployment.takesImages ? null : refusedImages(inspection, deployment);
  return images === null ? { kind: 'runnable', deployment } : { kind: 'faulty', errors: images };
}

/** Why no line that names this model can be answered; null: they can. */
async function refusalOf(
  scope: Scope,
  { model, deployment }: { readonly model: string; readonly deployment: Deployment | undefined },
  deployments: Deployments,
): Promise<FaultOfLine | null> {
  const param = 'body.model';
  if (deployment === undefined) {
    const names = (await deployments.list(scope)).map(({ name }) => name);
    const advice = `Set body.model to one of this resource's deployments: ${listed(names)}.`;
    return {
      code: 'model_not_found',
      message: `the model deployment '${model}' could not be found. ${advice}`,
      param,
      openai: {
        code: 'model_not_found',
        message: `The provided model '${model}' is not supported by the Batch API. ${advice}`,
      },
    };
  }
  if (!BATCH_SKUS.includes(deployment.sku)) {
    return {
      code: 'invalid_request',
      message: `the deployment '${deployment.name}' has the SKU ${deployment.sku}, which serves single requests. A batch needs a deployment of SKU ${BATCH_SKUS.join(' or ')}.`,
      param,
    };
  }
  if (deployment.unusable !== null) return { code: 'invalid_request', message: deployment.unusable, param };
  return null;
}

const LISTED_MAX = 10;

/** Each line repeats them, so they are few. */
function listed(names: readonly string[]): string {
  if (names.length === 0) return 'there are none yet';
  const shown = names.slice(0, LISTED_MAX).map((name) => `'${name}'`);
  const more = names.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}

/** One fault for each line that carries an image; null: none does. */
function refusedImages(
  { urls, imageLines, imageLinesOmitted }: Inspection,
  { name, model }: Deployment,
): BatchErrors | null {
  if (imageLines.length === 0) return null;
  const data = imageLines.map((line): BatchError => ({
    code: 'invalid_request',
    message: `Line ${line}: this request carries an image, but the deployment '${name}' has the model '${model}', which takes text alone. Please remove the image, or name a deployment of a model that takes images.`,
    param: urls[0]?.url === '/responses' ? 'body.input' : 'body.messages',
    line,
  }));
  return { data, omitted: imageLinesOmitted };
}

export const faulty = (error: BatchError): Extract<Verdict, { kind: 'faulty' }> => ({
  kind: 'faulty',
  errors: { data: [error], omitted: 0 },
});
