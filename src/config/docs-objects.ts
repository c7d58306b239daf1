import { OFFERS, ROLES, SKUS, VERSION_UPGRADE_OPTIONS, WHEN_FULL } from '../contract/control.ts';
import { AUTH_STYLES } from './upstream.ts';

/** The part of docs/configuration.md about what only the file has. */
export const OBJECTS = `## Objects of the file

\`\${NAME}\` in any value stands for the environment variable NAME; it is a fault when that is not set. What the file declares
is read-only over the API. All of it is read again on SIGHUP, see [operations.md](operations.md#reloading).

### \`deployments\`

Deployments of the default resource. Each item is \`NAME\` or \`NAME=MODEL\`, as on the command line, or a mapping:

- \`name\`: what callers put in \`model\`
- \`model\`: base model; the name when omitted. A name that the catalog lacks is a model of your own: it has no version and
  no quota, can be had everywhere, and takes text and images
- \`version\`: of the model; its default one when omitted
- \`sku\`: ${SKUS.join(', ')}; GlobalBatch when omitted. It decides which upstreams may be used: Global ones all that serve
  the model, Data Zone ones those in the data zone of the resource, Standard those in its region
- \`enqueuedTokens\`: input tokens that its live batches may hold together. When omitted, \`enqueuedTokens\` of the service if
  that is given, else an equal share of what the other deployments leave of the quota, else 5B
- \`dynamicQuota\`: true lets it go beyond its own limit while the rest of the quota is idle
- \`whenFull\`: ${WHEN_FULL.join(' or ')}, what happens to a batch that does not fit just now; fail when omitted
- \`versionUpgradeOption\`: ${VERSION_UPGRADE_OPTIONS.join(', ')}; the first when omitted
- \`contentFilter\`: name of a content filter, to be shown
- \`concurrency\`: requests in flight over all its upstreams; \`concurrency\` of the service when omitted
- \`upstreams\`: narrows them down to these: each the name of one in \`upstreams\`, or one for this deployment alone, which is
  \`simulator\`, a URL, or a mapping as under \`upstreams\` with \`model\`, the model's name there, in place of \`name\` and
  \`models\`. The least loaded healthy one takes the next request
- \`tags\`: names and values of your own

### \`upstreams\`

Model servers that deployments share. The one of \`upstream\` is among them as \`default\`, and serves every model; with
\`upstreams\` in the file it is there only when \`upstream\` is given.

- \`name\`: for \`upstreams\` of deployments, messages and logs
- \`url\`: base URL of an OpenAI-compatible API, or \`simulator\`
- \`apiKey\`: key for it; none when omitted
- \`models\`: those it serves: a list, or a mapping of model to its name there. Any model under its own name when omitted
- \`region\`: where it stands; \`location\` of the service when omitted
- \`dataZone\`: the zone of its region when omitted
- \`authStyle\`: ${AUTH_STYLES.join(' or ')}, which header carries the key; api-key for Azure's hosts, else bearer
- \`apiVersion\`: calls Azure's classic paths, \`{url}/openai/deployments/{model}/…?api-version=…\`; for resources without \`/openai/v1\`
- \`requestTimeout\`: time that it may take for one request; \`requestTimeout\` of the service when omitted
- \`caFile\`: certificates (PEM) to trust instead of the system's, for an https URL
- \`proxy\`: a proxy for requests to it, or \`none\`; when omitted, \`HTTP_PROXY\`, \`HTTPS_PROXY\` and \`NO_PROXY\` decide

### \`resources\`

The tenants. The default resource is always there; an entry named \`default\` says more about it.

- \`name\`: a-z, 0-9 and \`-\`. Callers ask \`{name}.localhost\`, \`/{name}/openai/…\`, or another of \`resourceDomains\`
- \`location\`, \`subscription\`, \`offer\`: those of the service when omitted. Offers: ${OFFERS.join(', ')}; unlimited has no quota
- \`resourceGroup\`: offpeak when omitted
- \`keys\`: one or two keys; the resource then has no others. A key that is removed here is refused after the next reload.
  Without a list the resource keeps its keys, and the API makes them
- \`disableKeyAuth\`: true lets only tokens in
- \`tags\`: names and values of your own
- \`deployments\`: as above

### \`models\`

Additions to the built-in catalog. An entry with the name and version of another takes its place.

- \`name\`, \`version\`: as deployments name it; a model of your own may have no version
- \`default\`: true for the version that a deployment gets when it names none
- \`inputs\`: list of text, image; both when omitted
- \`regions\`: everywhere, or by SKU a list of regions or everywhere; a SKU that is not there cannot be deployed. Everywhere
  with every SKU when omitted
- \`quota\`: by SKU and offer, enqueued tokens that a subscription has in each region, or none. When
  omitted, that of the model's other versions; no limit if there is none
- \`price\`: \`input\` and \`output\`, USD per million tokens

### \`dataZones\`

\`zone: [region, …]\`, on top of US and EU. Every other region is a zone of its own.

### \`identity\`

Whose tokens are accepted beside keys. For Microsoft Entra ID, \`tenant\` is enough; any other OIDC issuer needs \`issuers\`,
\`audiences\` and \`jwksUri\`.

- \`tenant\`: id of the Entra tenant; gives its two issuers and the address of their keys
- \`issuers\`: exact values of \`iss\`
- \`audiences\`: accepted values of \`aud\`; those of Azure's data and control plane when omitted
- \`jwksUri\`: address where the issuer publishes its keys; https, or http on this machine
- \`clockSkew\`: how far clocks may be apart, 5m at most and when omitted

### \`roleAssignments\`

A token alone opens nothing. Each item gives a role to the users, groups or apps that a token names:

- \`role\`: ${ROLES.join(', ')}
- one of \`oid\` (object id), \`group\` (value in \`groups\`), \`appRole\` (value in \`roles\`)
- \`resource\`: its name, or \`*\` for every resource and the service as a whole
`;
