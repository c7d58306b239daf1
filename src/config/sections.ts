import type { z } from 'zod';
import { identity, roleAssignment } from './identity.ts';
import { dataZones, model } from './model.ts';
import { defaults, type OptionName, type OptionValues } from './options.ts';
import { resource } from './resource.ts';
import { upstream } from './upstream.ts';
import { each } from './values.ts';

/** The parts that only the file has, by their key there. Null: the part is absent. */
export const SECTIONS = {
  resources: each(resource, 'resource'),
  upstreams: each(upstream, 'upstream'),
  models: each(model, 'model'),
  dataZones,
  identity,
  roleAssignments: each(roleAssignment, 'role assignment'),
} as const satisfies Record<string, z.ZodType>;

export type SectionName = keyof typeof SECTIONS;
export const SECTION_NAMES = Object.keys(SECTIONS) as SectionName[];

type SectionValues = {
  readonly [Name in SectionName]: z.output<(typeof SECTIONS)[Name]> | null;
};

/** All that can be configured. */
export type Values = OptionValues & SectionValues;
export type ValueName = OptionName | SectionName;

/** Where a value, or a part of it, was given: `--deployment`, `OFFPEAK_DEPLOYMENT`, `offpeak.yaml:12`. */
export type Locate = (name: ValueName, path?: readonly PropertyKey[]) => string;

export const defaultValues = (): Values => ({
  ...defaults(),
  resources: null,
  upstreams: null,
  models: null,
  dataZones: null,
  identity: null,
  roleAssignments: null,
});
