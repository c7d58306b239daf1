import type { z } from 'zod';
import { ROLES } from '../contract/control.ts';
import { resourceName } from './resource.ts';
import { duration, each, mapping, oneOf, text, type Kind } from './values.ts';

const CLOCK_SKEW_MS_MAX = 300_000;

const tenant = text.schema.refine(
  (raw) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(raw),
  'expected the id of a tenant, as 8-4-4-4-12 hexadecimal digits',
);
const issuer = text.schema.refine(
  (raw) => /^https?:$/.test(URL.parse(raw)?.protocol ?? ''),
  "expected an issuer's URL, exactly as tokens carry it in `iss`",
);
/** The server there says which tokens are accepted, so no other server may answer in its place. */
const jwksUri = text.schema.refine((raw) => {
  const url = URL.parse(raw);
  return url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname));
}, 'expected an https URL (http only for this machine)');

/** The issuer of the tokens that callers show: an Entra tenant, or any OIDC issuer. */
export const identity = mapping({
  tenant: tenant.optional(),
  issuers: each(issuer, 'issuer').optional(),
  audiences: each(text.schema, 'audience').optional(),
  jwksUri: jwksUri.optional(),
  clockSkew: duration(0, CLOCK_SKEW_MS_MAX).schema.default(CLOCK_SKEW_MS_MAX),
}).superRefine(({ tenant: ofEntra, issuers, audiences, jwksUri: keys }, context) => {
  if (ofEntra !== undefined) return;
  const missing = Object.entries({ issuers, audiences, jwksUri: keys }).filter(
    ([, value]) => value === undefined,
  );
  if (missing.length === 0) return;
  const names = missing.map(([key]) => key).join(', ');
  context.addIssue(
    `give tenant (Microsoft Entra ID), or all of issuers, audiences, jwksUri; ${names} missing`,
  );
});
export type IdentityEntry = z.output<typeof identity>;

/** `*` means every resource, and the control plane of the service as a whole. */
const assignedTo: Kind<string> = {
  what: 'the name of a resource, or *',
  schema: text.schema.refine(
    (raw) => raw === '*' || resourceName.schema.safeParse(raw).success,
    'expected the name of a resource, or *',
  ),
};

/** Gives a role to the user, group or app that a token names. */
export const roleAssignment = mapping({
  role: oneOf(...ROLES).schema,
  oid: text.schema.optional(),
  group: text.schema.optional(),
  appRole: text.schema.optional(),
  resource: assignedTo.schema,
}).superRefine(({ oid, group, appRole }, context) => {
  const given = [oid, group, appRole].filter((value) => value !== undefined).length;
  if (given !== 1) context.addIssue('expected one of oid, group and appRole');
});
export type RoleAssignmentEntry = z.output<typeof roleAssignment>;

const isLoopback = (host: string): boolean =>
  host === 'localhost' ||
  host.endsWith('.localhost') ||
  /^127\.\d+\.\d+\.\d+$/.test(host) ||
  host === '[::1]';
