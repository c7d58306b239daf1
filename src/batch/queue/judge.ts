import type { BatchEndpoint, BatchError, BatchErrors } from '../../contract/batch.ts';
import { BATCH_SKUS } from '../../contract/control.ts';
import type { Inspection } from '../../contract/inspection.ts';
import type { Scope } from '../../contract/scope.ts';
import type { Deployment, Deployments } from '../../deployments/port.ts';

/** What an inspected file and a batch come to together: faults of the batch, or the deployment that will answer. */
export type Verdict =
  | { readonly kind: 'faulty'; readonly errors: BatchErrors }
  | { readonly kind: 'runnable'; readonly deployment: Deployment };

/** Every line is sound (or its faults are listed); does the whole fit the batch's endpoint and a deployment? */
export async function judge(
  scope: Scope,
  inspection: Inspection,
  request: { readonly endpoint: BatchEndpoint; readonly dialect: 'azure' | 'openai' },
  deployments: Deployments,
): Promise<Verdict> {
  if (inspection.errors !== null) return { kind: 'faulty', errors: inspection.errors };
  const { url, model, firstLine: line } = inspection;
  if (!urlFits(url, request)) {
    return faulty({
      code: 'url_mismatch',
      message: `The url of the lines, '${url}', does not match the endpoint of the batch, '${request.endpoint}'. Create the batch with endpoint '${url}', or change the lines.`,
      param: 'url',
      line,
    });
  }
  const deployment = model === null ? undefined : await deployments.find(scope, model);
  if (deployment === undefined) {
    const known = (await deployments.list(scope)).map(({ name }) => `'${name}'`);
    return faulty({
      code: 'model_not_found',
      message: `The model deployment '${model}' of the input file could not be found. Set body.model to one of this resource's deployments: ${known.join(', ') || 'there are none yet'}.`,
      param: 'body.model',
      line,
    });
  }
  if (!BATCH_SKUS.includes(deployment.sku)) {
    return faulty({
      code: 'invalid_request',
      message: `The deployment '${deployment.name}' has the SKU ${deployment.sku}, which serves single requests. A batch needs a deployment of SKU ${BATCH_SKUS.join(' or ')}.`,
      param: 'body.model',
      line,
    });
  }
  if (deployment.unusable !== null) {
    return faulty({ code: 'invalid_request', message: deployment.unusable, param: 'body.model', line });
  }
  const images = deployment.takesImages ? null : refusedImages(inspection, deployment);
  return images === null ? { kind: 'runnable', deployment } : { kind: 'faulty', errors: images };
}

/** One fault for each line that carries an image; null: none does. */
function refusedImages(
  { url, imageLines, imageLinesOmitted }: Inspection,
  { name, model }: Deployment,
): BatchErrors | null {
  if (imageLines.length === 0) return null;
  const data = imageLines.map((line): BatchError => ({
    code: 'invalid_request',
    message: `Line ${line}: this request carries an image, but the deployment '${name}' has the model '${model}', which takes text alone. Please remove the image, or name a deployment of a model that takes images.`,
    param: url === '/responses' ? 'body.input' : 'body.messages',
    line,
  }));
  return { data, omitted: imageLinesOmitted };
}

/** On Azure an endpoint of `/chat/completions` also stands for rows that all go to `/responses` (contract §4). */
function urlFits(
  url: BatchEndpoint | null,
  { endpoint, dialect }: { endpoint: BatchEndpoint; dialect: 'azure' | 'openai' },
): boolean {
  if (url === endpoint) return true;
  return dialect === 'azure' && endpoint === '/chat/completions' && url === '/responses';
}

export const faulty = (error: BatchError): Extract<Verdict, { kind: 'faulty' }> => ({
  kind: 'faulty',
  errors: { data: [error], omitted: 0 },
});
