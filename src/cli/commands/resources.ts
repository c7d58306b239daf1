import { createInterface } from 'node:readline/promises';
import { type Offer, OFFERS } from '../../contract/control.ts';
import { DEFAULT_RESOURCE_ID } from '../../contract/scope.ts';
import { type ControlClient, type ControlCommandFlags, openControl } from '../client/control-client.ts';
import { type Account, type Keys, ownerWord, present } from '../client/control-shapes.ts';
import { nextCommand } from '../process/command-name.ts';
import { CliError, EXIT, type ExitCode } from '../process/exit.ts';
import { nameValues } from '../process/name-values.ts';
import {
  note,
  oneLine,
  print,
  printFacts,
  printJson,
  printListJson,
  printTable,
  table,
} from '../terminal/print.ts';

export async function listResources(flags: ControlCommandFlags): Promise<ExitCode> {
  const resources = await (await openControl(flags)).resources();
  if (flags.json) printListJson(resources);
  else printTable(['name', 'location', 'offer', 'opened by', 'endpoint'], resources.map(summary));
  return EXIT.ok;
}

export async function showResource(name: string, flags: ControlCommandFlags): Promise<ExitCode> {
  show(await (await openControl(flags)).resource(name), flags);
  return EXIT.ok;
}

export interface ResourceFlags extends ControlCommandFlags {
  readonly location?: string;
  readonly offer?: string;
  readonly disableKeyAuth?: boolean;
  readonly enableKeyAuth?: boolean;
  readonly tag?: readonly string[];
}

export async function createResource(name: string, flags: ResourceFlags): Promise<ExitCode> {
  const client = await openControl(flags);
  const location = flags.location ?? (await locationFor(name, client));
  const body = bodyOf({ ...flags, ...(location !== undefined && { location }) });
  show(await client.putResource(name, { kind: 'OpenAI', sku: { name: 'S0' }, ...body }), flags);
  if (!flags.json) note(`next: ${nextCommand(['resources', 'keys', name], flags)}`);
  return EXIT.ok;
}

/** The location of the default resource. A resource that exists keeps its own, so none is sent for it. */
async function locationFor(name: string, client: ControlClient): Promise<string | undefined> {
  const resources = await client.resources({ everyGroup: true });
  if (resources.some((resource) => resource.name === name.toLowerCase())) return undefined;
  return resources.find((resource) => resource.name === DEFAULT_RESOURCE_ID)?.location;
}

export async function updateResource(name: string, flags: ResourceFlags): Promise<ExitCode> {
  const body = bodyOf(flags);
  if (Object.keys(body).length === 0) {
    throw new CliError(
      'Say what to change: --offer, --disable-key-auth, --enable-key-auth or --tag.',
      EXIT.usage,
    );
  }
  show(await (await openControl(flags)).patchResource(name, body), flags);
  return EXIT.ok;
}

export async function deleteResource(
  name: string,
  flags: ControlCommandFlags & { readonly yes?: boolean },
): Promise<ExitCode> {
  const client = await openControl(flags);
  const question = `Delete resource '${oneLine(name)}' and all that is in it? Type its name:`;
  if (!flags.yes && !(await isConfirmed(question, name))) {
    throw new CliError(`'${name}' was not typed, so nothing was deleted.`, EXIT.failed);
  }
  const deleted = await client.deleteResource(name);
  if (!deleted) throw new CliError(`There is no resource '${name}'.`, EXIT.failed);
  if (flags.json) printJson({ name, deleted });
  else print(`${name}  deleted`);
  return EXIT.ok;
}

/** Whether the user typed `answer`. Without a terminal nobody can be asked, and the command needs `--yes`. */
async function isConfirmed(question: string, answer: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new CliError('this cannot be undone, and nobody can be asked here: add --yes.', EXIT.usage);
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question(`${question} `)).trim() === answer;
  } finally {
    lines.close();
  }
}

export type KeysFlags = ControlCommandFlags & { readonly regenerate?: string };

/** Makes the keys that are missing, or replaces one. A key is shown when it is made and never again. */
export async function resourceKeys(name: string, flags: KeysFlags): Promise<ExitCode> {
  const slot = slotOf(flags.regenerate);
  const client = await openControl(flags);
  const keys = await (slot === null ? client.keys(name) : client.regenerateKey(name, slot));
  if (flags.json) printJson(keys);
  else print(table(keyRows(keys)));
  if (!flags.json && isNew(keys.key1, keys.key2))
    note(
      'A key is shown only once, when it is made. Keep it. If it is lost, --regenerate 1 or 2 replaces it.',
    );
  return EXIT.ok;
}

const keyRows = ({ key1, key2 }: Keys): string[][] => [
  ['key1', shownKey(key1)],
  ['key2', shownKey(key2)],
];

const SHOWN_ONCE = 'shown-once-ends-in-';
const isNew = (...keys: readonly (string | null | undefined)[]): boolean =>
  keys.some((key) => key && !key.startsWith(SHOWN_ONCE));

function shownKey(key: string | null | undefined): string {
  if (!key) return 'none';
  return oneLine(key.startsWith(SHOWN_ONCE) ? `…${key.slice(SHOWN_ONCE.length)} (was shown before)` : key);
}

function slotOf(text: string | undefined): 1 | 2 | null {
  if (text === undefined) return null;
  if (text === '1' || text === '2') return text === '1' ? 1 : 2;
  throw new CliError(`--regenerate '${text}': expected 1 or 2, the key to replace.`, EXIT.usage);
}

/** The members of the ARM account that the flags set. */
export function bodyOf(flags: ResourceFlags): Record<string, unknown> {
  if (flags.disableKeyAuth && flags.enableKeyAuth) {
    throw new CliError('--disable-key-auth and --enable-key-auth exclude each other.', EXIT.usage);
  }
  const offer = flags.offer === undefined ? undefined : offerOf(flags.offer);
  const isSet = flags.disableKeyAuth || flags.enableKeyAuth;
  const properties = present({
    disableLocalAuth: isSet ? flags.disableKeyAuth === true : undefined,
    offpeak: present({ offer }),
  });
  const tags = flags.tag && nameValues(flags.tag, '--tag');
  return present({ location: flags.location, tags, properties }) ?? {};
}

function offerOf(text: string): Offer {
  const offer = OFFERS.find((candidate) => candidate === text.toLowerCase());
  if (offer) return offer;
  throw new CliError(`--offer '${text}': expected one of ${OFFERS.join(', ')}.`, EXIT.usage);
}

function show(resource: Account, { json }: ControlCommandFlags): void {
  if (json) return printJson(resource);
  const { properties, location, tags } = resource;
  printFacts([
    ['name', oneLine(resource.name)],
    ['location', oneLine(location)],
    ['offer', oneLine(properties.offpeak?.offer ?? '')],
    ['opened by', openedBy(resource)],
    ['endpoint', oneLine(properties.endpoint ?? '')],
    ['declared in', ownerWord(properties.offpeak?.owner)],
    ...Object.entries(tags ?? {}).map(([name, value]): [string, string] => [
      'tag',
      oneLine(`${name}=${value}`),
    ]),
  ]);
}

const summary = (resource: Account): string[] => [
  oneLine(resource.name),
  oneLine(resource.location),
  oneLine(resource.properties.offpeak?.offer ?? ''),
  openedBy(resource),
  oneLine(resource.properties.endpoint ?? ''),
];

const openedBy = ({ properties }: Account): string =>
  properties.disableLocalAuth ? 'tokens' : 'keys and tokens';
