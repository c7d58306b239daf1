/** The documentation of each operation: its topic, one sentence, and a call with curl. */
import {
  ACCOUNT,
  ACCOUNTS,
  CONTROL_PLANE,
  DATA_PLANE,
  DEPLOYMENT,
  DEPLOYMENTS,
  SUBSCRIPTION,
} from '../address/router-paths.ts';

export interface Operation {
  readonly topic: Topic;
  readonly sentence: string;
  readonly curl: string | undefined;
  /** It is given only where the route itself has none. */
  readonly summary: string | undefined;
}

export const TOPICS = {
  files: 'Input files that you upload, and the files that batches produce.',
  uploads:
    'Large files in parts: start, add parts in any order, complete. A part that failed can be sent again.',
  batches: 'A batch answers every line of a file exactly once.',
  deployments: 'A line names a deployment in `model`. Each has a limit of enqueued tokens.',
  models: 'The models of the catalog, and what each can do.',
  resources:
    'Control plane: tenants, their keys and quotas. Send the admin key or a token, and the query parameter api-version.',
  'resource deployments':
    'Control plane: deployments of a resource. Send the admin key or a token, and the query parameter api-version.',
  'regions and quota':
    'Control plane: what a region offers and what a subscription has used. Send the admin key or a token, and the query parameter api-version.',
  audit: 'Control plane: who changed what, and when. Send the admin key or a token.',
  service: 'Open to everybody, without a key.',
} as const satisfies Record<string, string>;
type Topic = keyof typeof TOPICS;

const on = (topic: Topic, entries: Record<string, string | readonly [sentence: string, summary: string]>) =>
  Object.entries(entries).map(([route, entry]): [string, Operation] => {
    const [sentence, summary] = [entry].flat();
    return [route, { topic, sentence: sentence ?? '', summary, curl: CURL[route] }];
  });

const JSON_BODY = `-H 'content-type: application/json' -d`;
const ONE_MODEL = '-G -d modelFormat=OpenAI -d modelName=gpt-4o -d modelVersion=2024-11-20';

/** What follows the address in the curl line. */
const CURL: Readonly<Record<string, string>> = {
  [`POST ${DATA_PLANE}/files`]: '-F purpose=batch -F file=@in.jsonl',
  [`POST ${DATA_PLANE}/files/import`]: `${JSON_BODY} '{"purpose": "batch", "filename": "in.jsonl", "content_url": "https://files.example.com/in.jsonl"}'`,
  [`GET ${DATA_PLANE}/files/:id/content`]: '-o out.jsonl',
  [`DELETE ${DATA_PLANE}/files/:id`]: '-X DELETE',
  [`POST ${DATA_PLANE}/uploads`]: `${JSON_BODY} '{"purpose": "batch", "filename": "in.jsonl", "bytes": 123456, "mime_type": "application/jsonl"}'`,
  [`POST ${DATA_PLANE}/uploads/:id/parts`]: '-F data=@part-1',
  [`POST ${DATA_PLANE}/uploads/:id/complete`]: `${JSON_BODY} '{"part_ids": ["part_1", "part_2"]}'`,
  [`POST ${DATA_PLANE}/uploads/:id/cancel`]: '-X POST',
  [`POST ${DATA_PLANE}/batches`]: `${JSON_BODY} '{"input_file_id": "file-…", "endpoint": "/chat/completions", "completion_window": "24h"}'`,
  [`POST ${DATA_PLANE}/batches/:id/cancel`]: '-X POST',
  [`GET ${DATA_PLANE}/batches/:id/output`]: '-o out.jsonl',
  [`GET ${DATA_PLANE}/batches/:id/errors`]: '-o errors.jsonl',
  [`PUT ${ACCOUNT}`]: `-X PUT ${JSON_BODY} '{"location": "koreacentral", "kind": "OpenAI", "sku": {"name": "S0"}}'`,
  [`PATCH ${ACCOUNT}`]: `-X PATCH ${JSON_BODY} '{"tags": {"team": "a"}}'`,
  [`DELETE ${ACCOUNT}`]: '-X DELETE',
  [`POST ${ACCOUNT}/listKeys`]: '-X POST',
  [`POST ${ACCOUNT}/regenerateKey`]: `${JSON_BODY} '{"keyName": "Key1"}'`,
  [`PUT ${DEPLOYMENT}`]: `-X PUT ${JSON_BODY} '{"sku": {"name": "GlobalBatch", "capacity": 1000}, "properties": {"model": {"format": "OpenAI", "name": "gpt-4o", "version": "2024-11-20"}}}'`,
  [`PATCH ${DEPLOYMENT}`]: `-X PATCH ${JSON_BODY} '{"sku": {"name": "GlobalBatch", "capacity": 2000}}'`,
  [`DELETE ${DEPLOYMENT}`]: '-X DELETE',
  [`GET ${SUBSCRIPTION}/locations/:location/modelCapacities`]: ONE_MODEL,
  [`GET ${SUBSCRIPTION}/modelCapacities`]: ONE_MODEL,
};

/** The keys are method and path, as the router knows them. A route that is not here is not shown. */
export const OPERATIONS: ReadonlyMap<string, Operation> = new Map([
  ...on('files', {
    [`POST ${DATA_PLANE}/files`]: 'Stores a JSONL file of requests. A batch can use it at once.',
    [`POST ${DATA_PLANE}/files/import`]: 'Fetches a file from a host that the operator has listed.',
    [`GET ${DATA_PLANE}/files`]: 'Lists files, the newest first.',
    [`GET ${DATA_PLANE}/files/:id`]: 'Shows name, size, purpose and expiry of a file.',
    [`GET ${DATA_PLANE}/files/:id/content`]:
      'Returns the bytes of a file, whole or in ranges, also of an output that is still being made.',
    [`DELETE ${DATA_PLANE}/files/:id`]: 'Deletes a file. A batch that still reads it goes on.',
  }),
  ...on('uploads', {
    [`POST ${DATA_PLANE}/uploads`]: 'Starts an upload in parts. It expires after two hours.',
    [`POST ${DATA_PLANE}/uploads/:id/parts`]:
      'Stores one part of at most 64 MiB. It is on stable storage when the call returns.',
    [`POST ${DATA_PLANE}/uploads/:id/complete`]: 'Joins the parts to a file, in the order that you give.',
    [`POST ${DATA_PLANE}/uploads/:id/cancel`]: 'Ends an upload and removes its parts.',
  }),
  ...on('batches', {
    [`POST ${DATA_PLANE}/batches`]: 'Starts a batch on a file. The answer says what is wrong with any line.',
    [`GET ${DATA_PLANE}/batches`]: 'Lists batches, the newest first. They can be filtered and ordered.',
    [`GET ${DATA_PLANE}/batches/:id`]: 'Shows status, counts, usage, progress and what a batch waits for.',
    [`POST ${DATA_PLANE}/batches/:id/cancel`]: 'Stops a batch and keeps what it has answered.',
    [`GET ${DATA_PLANE}/batches/:id/output`]: 'Returns all answers so far, also while the batch runs.',
    [`GET ${DATA_PLANE}/batches/:id/errors`]: 'Returns all failures so far, also while the batch runs.',
  }),
  ...on('deployments', {
    [`GET ${DATA_PLANE}/deployments`]: 'Lists the deployments that lines may name in `model`.',
    [`GET ${DATA_PLANE}/deployments/:deployment`]:
      'Shows one deployment, its limit, and how much of it is used.',
    [`GET ${DATA_PLANE}/usages`]: 'Shows the enqueued-token quotas and what is left of them.',
  }),
  ...on('models', {
    [`GET ${DATA_PLANE}/models`]: 'Lists the models of the catalog.',
    [`GET ${DATA_PLANE}/models/:id`]: 'Shows one model and what it can do.',
  }),
  ...on('resources', {
    [`GET ${CONTROL_PLANE}/subscriptions/:subscription/accounts`]: [
      'Lists the resources of a subscription.',
      'List resources of a subscription',
    ],
    [`GET ${ACCOUNTS}`]: ['Lists the resources of a group.', 'List resources of a group'],
    [`GET ${ACCOUNT}`]: ['Shows a resource and its endpoint.', 'Get a resource'],
    [`PUT ${ACCOUNT}`]: ['Makes a resource, or changes it.', 'Make or replace a resource'],
    [`PATCH ${ACCOUNT}`]: ['Changes what you send of a resource, and leaves the rest.', 'Change a resource'],
    [`DELETE ${ACCOUNT}`]: [
      'Deletes a resource with its keys, deployments and files, unless batches are live.',
      'Delete a resource',
    ],
    [`POST ${ACCOUNT}/listKeys`]: [
      'Makes the keys that are missing and shows them. A key is shown once.',
      'Make and show keys',
    ],
    [`POST ${ACCOUNT}/regenerateKey`]: [
      'Replaces one of the two keys and shows the new one.',
      'Replace a key',
    ],
    [`GET ${ACCOUNT}/skus`]: ['Lists the SKUs that a resource may have.', 'List SKUs of a resource'],
    [`GET ${ACCOUNT}/usages`]: [
      'Shows the quotas of a resource and how much of them is used.',
      'Get quotas of a resource',
    ],
    [`GET ${ACCOUNT}/models`]: ['Lists the models that a resource can deploy.', 'List models of a resource'],
  }),
  ...on('resource deployments', {
    [`GET ${DEPLOYMENTS}`]: ['Lists the deployments of a resource.', 'List deployments of a resource'],
    [`GET ${DEPLOYMENT}`]: ['Shows one deployment.', 'Get a deployment of a resource'],
    [`PUT ${DEPLOYMENT}`]: [
      'Deploys a model, or changes a deployment. Live batches go on.',
      'Deploy a model',
    ],
    [`PATCH ${DEPLOYMENT}`]: [
      'Changes what you send of a deployment, and leaves the rest.',
      'Change a deployment',
    ],
    [`DELETE ${DEPLOYMENT}`]: ['Deletes a deployment, unless live batches name it.', 'Delete a deployment'],
    [`GET ${DEPLOYMENT}/skus`]: [
      'Lists the SKUs that a deployment may change to.',
      'List SKUs of a deployment',
    ],
  }),
  ...on('regions and quota', {
    [`GET ${SUBSCRIPTION}/locations/:location/usages`]: [
      'Shows the quotas of a subscription in a region.',
      'Get quotas of a region',
    ],
    [`GET ${SUBSCRIPTION}/locations/:location/models`]: [
      'Lists the models of a region.',
      'List models of a region',
    ],
    [`GET ${SUBSCRIPTION}/locations/:location/modelCapacities`]: [
      'Shows how much of one model can still be deployed in a region.',
      'Get what is left of a model in a region',
    ],
    [`GET ${SUBSCRIPTION}/modelCapacities`]: [
      'Shows how much of one model can still be deployed, by region.',
      'Get what is left of a model',
    ],
  }),
  ...on('audit', {
    [`GET ${CONTROL_PLANE}/audit`]:
      'Lists changes of resources, keys, deployments, files and batches, the newest first.',
  }),
  ...on('service', {
    'GET /': ['Says what this service is, and where its documentation is.', 'Start here'],
    'GET /healthz': [
      'Answers 200 when work is taken, and 503 before and while the service stops.',
      'Health check',
    ],
    'GET /openapi.json': ['Describes all operations as OpenAPI 3.1.', 'This document'],
  }),
]);
