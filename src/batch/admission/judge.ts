import type { BatchError, BatchErrors } from '../../contract/batch.ts';
import { BATCH_SKUS } from '../../contract/control.ts';
import { inDialect, type FaultOfLine, type Inspection } from '../../contract/inspection.ts';
import type { Scope } from '../../contract/scope.ts';
import { assert } from '../../core/assert.ts';
import type { Deployment, Deployments } from '../../deployments/port.ts';
import {
  modelFault,
  faultsOfUrls,
  matchingGroups,
  withFault,
  type BatchRules,
  type NamedGroup,
} from './faults.ts';

/** The result of judging a batch by its inspected file: faults of the batch, or the deployment that will answer. */
export type InputVerdict =
  | { readonly kind: 'faulty'; readonly errors: BatchErrors }
  | { readonly kind: 'runnable'; readonly deployment: Deployment };

/** Whether every line fits the batch, and a deployment can answer them. Each line has one fault, its first. */
export async function judge(
  scope: Scope,
  inspection: Inspection,
  batch: BatchRules,
  deployments: Deployments,
): Promise<InputVerdict> {
  const matching = matchingGroups(inspection, batch);
  const { at: rightAt, deployment } = await firstDeployment(scope, matching, deployments);
  const names = deployment && rightAt === 0 ? [] : await namesOf(scope, deployments);
  const faultOf = (group: NamedGroup, at: number): FaultOfLine | null => {
    const right = matching[rightAt];
    if (right && at > rightAt) return modelFault(group, right);
    return at === rightAt && deployment ? refusalOf(deployment) : notFound(group.model, names);
  };
  const faults = matching.reduce(
    (all, group, at) => {
      const fault = faultOf(group, at);
      return fault === null ? all : withFault(all, group, fault);
    },
    faultsOfUrls(inspection, batch),
  );
  if (faults !== null) return { kind: 'faulty', errors: inDialect(batch.dialect, faults) };
  assert(deployment, 'a file without faults names a deployment');
  const images = deployment.takesImages ? null : refusedImages(inspection, deployment);
  return images === null ? { kind: 'runnable', deployment } : { kind: 'faulty', errors: images };
}

/** The first model of which there is a deployment: a name that is mistyped on the first line makes no other line wrong. */
async function firstDeployment(
  scope: Scope,
  groups: readonly NamedGroup[],
  deployments: Deployments,
): Promise<{ readonly at: number; readonly deployment: Deployment | undefined }> {
  for (const [at, { model }] of groups.entries()) {
    const deployment = await deployments.find(scope, model);
    if (deployment !== undefined) return { at, deployment };
  }
  return { at: 0, deployment: undefined };
}

const namesOf = async (scope: Scope, deployments: Deployments): Promise<string[]> =>
  (await deployments.list(scope)).map(({ name }) => name);

function notFound(model: string, names: readonly string[]): FaultOfLine {
  const advice = `Set body.model to one of this resource's deployments: ${listed(names)}.`;
  return {
    code: 'model_not_found',
    message: `the model deployment '${model}' could not be found. ${advice}`,
    param: 'body.model',
    openai: {
      code: 'model_not_found',
      message: `The provided model '${model}' is not supported by the Batch API. ${advice}`,
    },
  };
}

function refusalOf({ name, sku, unusable }: Deployment): FaultOfLine | null {
  const refusal = BATCH_SKUS.includes(sku)
    ? unusable
    : `the deployment '${name}' has the SKU ${sku}, which serves single requests. A batch needs a deployment of SKU ${BATCH_SKUS.join(' or ')}.`;
  return refusal === null ? null : { code: 'invalid_request', message: refusal, param: 'body.model' };
}

const LISTED_MAX = 10;

/** Each line repeats the names, so they are few. */
function listed(names: readonly string[]): string {
  if (names.length === 0) return 'there are none yet';
  const shown = names.slice(0, LISTED_MAX).map((name) => `'${name}'`);
  const more = names.length - shown.length;
  return more > 0 ? `${shown.join(', ')} and ${more} more` : shown.join(', ');
}

/** One fault for each line that carries an image. Null: no line does. */
function refusedImages(
  { groups, imageLines, imageLinesOmitted }: Inspection,
  { name, model }: Deployment,
): BatchErrors | null {
  if (imageLines.length === 0) return null;
  const data = imageLines.map((line): BatchError => ({
    code: 'invalid_request',
    message: `Line ${line}: this request carries an image, but the deployment '${name}' has the model '${model}', which takes text alone. Please remove the image, or name a deployment of a model that takes images.`,
    param: groups[0]?.url === '/responses' ? 'body.input' : 'body.messages',
    line,
  }));
  return { data, omitted: imageLinesOmitted };
}

export const faulty = (error: BatchError): Extract<InputVerdict, { kind: 'faulty' }> => ({
  kind: 'faulty',
  errors: { data: [error], omitted: 0 },
});
