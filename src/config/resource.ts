import type { z } from 'zod';
import { OFFERS } from '../contract/control.ts';
import { deployment } from './deployment.ts';
import { each, flag, listOf, mapping, name, oneOf, region, secret, tags, type Kind } from './values.ts';

/** A resource's name is the first part of a host name, so it is a DNS label. */
export const resourceName: Kind<string> = {
  what: 'a name of a-z, 0-9 and -, 2 to 63',
  schema: name.schema.refine(
    (raw) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])$/.test(raw),
    'expected a name of a-z, 0-9 and - that begins and ends with a letter or digit, 2 to 63 characters',
  ),
};
/** Azure's ids of subscriptions are GUIDs. Here any name will do. */
export const subscription: Kind<string> = name;

export const resource = mapping({
  name: resourceName.schema,
  location: region.schema.optional(),
  subscription: subscription.schema.optional(),
  resourceGroup: name.schema.optional(),
  offer: oneOf(...OFFERS).schema.optional(),
  keys: each(secret.schema, 'key')
    .refine((keys) => keys.length <= 2, 'expected at most 2 keys')
    .optional(),
  disableKeyAuth: flag.schema.optional(),
  tags: tags.optional(),
  deployments: listOf(deployment).schema.optional(),
});
export type ResourceEntry = z.output<typeof resource>;
