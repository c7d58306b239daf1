import {
  CONCURRENCY_MAX,
  ENQUEUED_TOKENS_MAX,
  OFFERS,
  SKUS,
  TAGS_MAX,
  TOKENS_PER_CAPACITY,
  UPSTREAMS_NAMED_MAX,
  type DeploymentRow,
  type Resource,
} from '../contract/control.ts';
import { ApiError, type ApiErrorCode } from '../contract/error.ts';
import { RESERVED_NAMES } from '../contract/names.ts';
import { didYouMean } from '../core/suggest.ts';
import { tokenCount } from '../core/token-unit.ts';
import type { Catalog } from './catalog/catalog.ts';
import {
  eligible,
  modelAt,
  servingQuery,
  type DataZoneOf,
  type FleetUpstream,
  type ServingQuery,
} from './fleet/serving.ts';

/**
 * The rules of what may be deployed, and of names and figures. Each is a pure function. It returns nothing, or an error that
 * says what is wrong, where, and what to do.
 */

const RESOURCE_NAME = /^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$/;
const LOCATION = /^[a-z0-9][a-z0-9-]{0,62}$/;
const SUBSCRIPTION = /^[A-Za-z0-9-]{1,64}$/;
const RESOURCE_GROUP = /^[\p{L}\p{N}_().-]{1,90}$/u;
const DEPLOYMENT_NAME = /^[A-Za-z0-9._-]{1,64}$/;
/** People with a server of their own call deployments as their models are called: `meta-llama/Llama-3.3`, `llama3.2:3b`. */
const CONFIGURED_NAME = /^[^\s\p{C}]{1,256}$/u;
const FINE_TUNED = /^ft:|\.ft-/;

const CONTENT_FILTER_CHARS_MAX = 256;
const TAG_CHARS_MAX = 512;
const LISTED_MAX = 30;

const invalid = (message: string, param: string): ApiError =>
  new ApiError('invalidResource', message, { param });

export function faultOfResource(
  resource: Omit<Resource, 'createdAt' | 'owner' | 'keyAuthDisabled'>,
): ApiError | undefined {
  const { id, location, subscriptionId, resourceGroup, offer } = resource;
  if (!RESOURCE_NAME.test(id)) {
    return invalid(
      `The resource name '${shorten(id)}' cannot be used. Take 2 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends: it is part of the resource's address.`,
      'name',
    );
  }
  if (RESERVED_NAMES.includes(id)) {
    return invalid(
      `The resource name '${id}' is reserved: addresses of the service start with it. Take another name.`,
      'name',
    );
  }
  if (!LOCATION.test(location)) {
    return invalid(
      `The location '${shorten(location)}' is not a region's name. Write it as 'koreacentral': 1 to 63 lower-case letters, digits and hyphens.`,
      'location',
    );
  }
  if (!SUBSCRIPTION.test(subscriptionId)) {
    return invalid(
      `The subscription id '${shorten(subscriptionId)}' cannot be used. Take 1 to 64 letters, digits and hyphens, such as a UUID.`,
      'subscriptionId',
    );
  }
  if (!RESOURCE_GROUP.test(resourceGroup)) {
    return invalid(
      `The resource group '${shorten(resourceGroup)}' cannot be used. Take 1 to 90 letters, digits, and any of _ - . ( ).`,
      'resourceGroup',
    );
  }
  if (!OFFERS.includes(offer)) {
    return invalid(`There is no offer '${shorten(offer)}'. Take one of: ${OFFERS.join(', ')}.`, 'offer');
  }
  return faultOfTags(resource.tags);
}

/** Checks names and figures of a deployment, whatever it deploys. */
export function faultOfSettings(deployment: DeploymentRow): ApiError | undefined {
  const { name, sku, enqueuedTokensMax, concurrencyMax, contentFilter, upstreams, tags } = deployment;
  const isConfigured = deployment.owner === 'configuration';
  if (!(isConfigured ? CONFIGURED_NAME : DEPLOYMENT_NAME).test(name)) {
    return invalid(
      `The deployment name '${shorten(name)}' cannot be used. Take 1 to ${isConfigured ? '256 characters without white space' : '64 letters, digits, hyphens, underscores and dots'}.`,
      'name',
    );
  }
  if (!SKUS.includes(sku)) {
    return invalid(`There is no SKU '${shorten(sku)}'. Take one of: ${SKUS.join(', ')}.`, 'sku.name');
  }
  if (!isCount(enqueuedTokensMax, ENQUEUED_TOKENS_MAX)) {
    return invalid(
      `The deployment '${name}' asks for ${enqueuedTokensMax} enqueued tokens. Take a whole number from 1 to ${ENQUEUED_TOKENS_MAX}; a capacity of 1 stands for ${TOKENS_PER_CAPACITY}.`,
      'sku.capacity',
    );
  }
  if (!isCount(concurrencyMax, CONCURRENCY_MAX)) {
    return invalid(
      `The deployment '${name}' asks for ${concurrencyMax} requests in flight. Take a whole number from 1 to ${CONCURRENCY_MAX}.`,
      'concurrency',
    );
  }
  if (contentFilter !== null && (contentFilter === '' || contentFilter.length > CONTENT_FILTER_CHARS_MAX)) {
    return invalid(
      `The deployment '${name}' names a content filter of ${contentFilter.length} characters. Take a name of 1 to ${CONTENT_FILTER_CHARS_MAX}.`,
      'raiPolicyName',
    );
  }
  if (upstreams !== null && (upstreams.length === 0 || upstreams.length > UPSTREAMS_NAMED_MAX)) {
    return invalid(
      `The deployment '${name}' names ${upstreams.length} upstreams. Name 1 to ${UPSTREAMS_NAMED_MAX}, or none at all for every one that serves its model.`,
      'upstreams',
    );
  }
  return faultOfTags(tags);
}

const isCount = (value: number, max: number): boolean =>
  Number.isSafeInteger(value) && value >= 1 && value <= max;

function faultOfTags(tags: Readonly<Record<string, string>>): ApiError | undefined {
  const pairs = Object.entries(tags);
  const isLong = pairs.some(([name, value]) => name.length > TAG_CHARS_MAX || value.length > TAG_CHARS_MAX);
  if (pairs.length <= TAGS_MAX && !isLong) return undefined;
  return invalid(
    `The tags are too many or too long. Take at most ${TAGS_MAX}, with names and values of at most ${TAG_CHARS_MAX} characters.`,
    'tags',
  );
}

export interface PlacementFacts {
  readonly resource: Pick<Resource, 'location'>;
  readonly catalog: Catalog;
  readonly upstreams: readonly FleetUpstream[];
}

/** Checks that the location has the model in that version and with that SKU, and that an upstream may serve it. */
export function faultOfPlacement(deployment: DeploymentRow, facts: PlacementFacts): ApiError | undefined {
  return faultOfModel(deployment, facts) ?? faultOfUpstreams(deployment, facts);
}

function faultOfModel(
  { model: name, version, sku }: DeploymentRow,
  { resource: { location }, catalog }: PlacementFacts,
): ApiError | undefined {
  const refuse = (code: ApiErrorCode, message: string, param: string) =>
    new ApiError(code, message, { param });
  if (FINE_TUNED.test(name)) {
    return refuse(
      'modelNotSupported',
      `The model '${shorten(name)}' is fine-tuned, and fine-tuned models cannot be deployed for batches. Deploy its base model; an upstream may map that to the fine-tuned one under its 'models'.`,
      'model.name',
    );
  }
  const versions = catalog.versions(name);
  if (versions.length === 0) {
    return refuse(
      'modelNotSupported',
      `The model '${shorten(name)}' is not in the model catalog.${didYouMean(name, catalog.names)} It has: ${list(catalog.names)}. The operator adds models under 'models:' of the configuration.`,
      'model.name',
    );
  }
  const model = catalog.find(name, version);
  if (!model) {
    const known = versions.flatMap((one) => (one.version === null ? [] : [one.version]));
    return refuse(
      'modelNotSupported',
      known.length === 0
        ? `The model '${name}' has no versions. Leave the version '${shorten(version ?? '')}' out.`
        : `The model '${name}' has no version '${shorten(version ?? '')}'. It has: ${list(known)}.`,
      'model.version',
    );
  }
  if (catalog.offered(model, location).includes(sku)) return undefined;
  const title = version === null ? name : `${name} ${version}`;
  const where = model.regions[sku];
  const offered = catalog.offered(model, location);
  return refuse(
    'skuNotSupported',
    [
      `The specified SKU '${sku}' for model '${title}' is not supported in this region '${location}'.`,
      where === undefined || where.length === 0
        ? 'The model cannot be had with this SKU anywhere.'
        : `It can be had in: ${where === 'everywhere' ? where : list(where)}.`,
      offered.length === 0
        ? 'The model cannot be had in this region with another SKU either.'
        : `In this region the model can be had with: ${list(offered)}.`,
    ].join(' '),
    'sku.name',
  );
}

function faultOfUpstreams(
  deployment: DeploymentRow,
  { resource, catalog, upstreams }: PlacementFacts,
): ApiError | undefined {
  const query = servingQuery(resource, deployment);
  const own = upstreams.filter((upstream) => isOpenTo(upstream, query));
  const unknown = query.only?.find((name) => !own.some((upstream) => upstream.name === name));
  if (unknown !== undefined) {
    const names = own.map(({ name }) => name);
    return new ApiError(
      'noUpstream',
      `There is no upstream '${shorten(unknown)}' for the deployment '${deployment.name}'.${didYouMean(unknown, names)} The configuration has: ${list(names) || 'none'}.`,
      { param: 'upstreams' },
    );
  }
  if (eligible(upstreams, query, catalog.dataZoneOf).length > 0) return undefined;
  return new ApiError(
    'noUpstream',
    `No upstream can serve the deployment '${deployment.name}': ${needOf(query, catalog.dataZoneOf)} ${whatThereIs(own, query)} Add one under 'upstreams:' of the configuration, or choose a SKU that may use another.`,
    { param: 'upstreams' },
  );
}

const isOpenTo = ({ onlyFor }: FleetUpstream, query: ServingQuery): boolean =>
  onlyFor === null || (onlyFor.resourceId === query.resourceId && onlyFor.deployment === query.deployment);

function needOf({ sku, model, location }: ServingQuery, dataZoneOf: DataZoneOf): string {
  const serving = `${sku} needs one that serves the model '${model}'`;
  switch (sku) {
    case 'GlobalBatch':
    case 'GlobalStandard':
      return `${serving}.`;
    case 'DataZoneBatch':
    case 'DataZoneStandard':
      return `${serving} in the data zone '${dataZoneOf(location)}' of the resource.`;
    case 'Standard':
      return `${serving} in the region '${location}' of the resource.`;
  }
}

function whatThereIs(own: readonly FleetUpstream[], { model, only }: ServingQuery): string {
  const serving = own.filter(
    (upstream) => (only?.includes(upstream.name) ?? true) && modelAt(upstream, model) !== undefined,
  );
  if (serving.length === 0) return 'None serves that model.';
  const places = serving.map(
    ({ name, region, dataZone }) => `${name} (region ${region}, data zone ${dataZone})`,
  );
  return `Those that serve the model are: ${list(places)}.`;
}

/** Says it in Azure's words, with figures in units of capacity, and then in tokens, as `offpeak quota` shows them. */
export function insufficientQuota(
  { model, sku }: Pick<DeploymentRow, 'model' | 'sku'>,
  tokens: {
    readonly wanted: number;
    /** Tokens of this quota that the deployment has already. */
    readonly own: number;
    /** Tokens that the others have and do not give up. */
    readonly others: number;
    readonly limit: number;
  },
): ApiError {
  const quota = `Enqueued tokens (thousands) - ${model} - ${sku}`;
  const usage = tokens.own + tokens.others;
  const [wanted, available, used, limit] = [
    tokens.wanted - tokens.own,
    Math.max(0, tokens.limit - usage),
    usage,
    tokens.limit,
  ].map((count) => count / TOKENS_PER_CAPACITY);
  const free = tokenCount(Math.max(0, tokens.limit - tokens.others));
  return new ApiError(
    'insufficientQuota',
    `This operation require ${wanted} new capacity in quota ${quota}, which is bigger than the current available capacity ${available}. The current quota usage is ${used} and the quota limit is ${limit} for quota ${quota}. That is ${tokenCount(tokens.wanted)} enqueued tokens of a quota of ${tokenCount(tokens.limit)}, of which this deployment can have ${free}. Ask for less, or lower another deployment of this model and SKU in the subscription and region.`,
    { param: 'sku.capacity' },
  );
}

const list = (names: readonly string[]): string => {
  const shown = names.slice(0, LISTED_MAX).join(', ');
  return names.length > LISTED_MAX ? `${shown} and ${names.length - LISTED_MAX} more` : shown;
};

const SHOWN_CHARS_MAX = 100;
const shorten = (text: string): string =>
  text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
