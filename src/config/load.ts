import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { z } from 'zod';
import { contradictions } from './contradictions.ts';
import type { Fault } from './fault.ts';
import { readConfigFile, type ConfigFile } from './file.ts';
import { isFromKubernetes } from './kubernetes.ts';
import type { OptionCommand } from './option.ts';
import { envName, OPTION_NAMES, OPTIONS, optionsOf, yamlPath, type OptionName } from './options.ts';
import {
  defaultValues,
  SECTIONS,
  type Locate,
  type SectionName,
  type ValueName,
  type Values,
} from './sections.ts';
import { closest } from '../core/suggest.ts';

export type Loaded =
  | {
      readonly ok: true;
      readonly values: Values;
      readonly given: ReadonlySet<ValueName>;
      readonly at: Locate;
      /** The file that was read. Null: there was none. */
      readonly file: string | null;
    }
  | { readonly ok: false; readonly faults: readonly Fault[] };

export interface Sources {
  readonly command: OptionCommand;
  /** Raw values of the command line: text, a list of text for a repeatable flag, true for a switch. */
  readonly flags: Partial<Readonly<Record<OptionName, string | string[] | boolean>>>;
  readonly env: NodeJS.ProcessEnv;
  readonly cwd: string;
  /** Whether a missing file is a fault, even when no file was named. */
  readonly needsFile?: boolean;
}

const CONFIG_FILE = 'offpeak.yaml';

/** The place that a raw value came from. `path` points inside the value. */
interface Origin {
  readonly at: (path?: readonly PropertyKey[]) => string;
  /** It names the option where the place alone does not. */
  readonly prefix: string;
}

/** Flags go before variables, variables before the file, the file before defaults. All faults are reported together. */
export async function loadConfig(sources: Sources): Promise<Loaded> {
  const { command, flags, env, cwd } = sources;
  const names = optionsOf(command);
  const faults: Fault[] = misspelt(env);
  const values: Record<string, unknown> = defaultValues();
  const origins = new Map<ValueName, Origin>();
  const faulty = new Set<ValueName>();
  let file: ConfigFile | null = null;

  /** Checks the value, and takes it unless an earlier source has given one. */
  const consider = (name: ValueName, raw: unknown, origin: Origin) => {
    const schema = isSection(name) ? SECTIONS[name] : OPTIONS[name].kind.schema;
    const parsed = schema.safeParse(raw);
    if (!parsed.success) {
      const found = toFaults(parsed.error, origin);
      faults.push(...found.filter(({ source }) => !file?.unset.places.has(source)));
      faulty.add(name);
    } else if (!origins.has(name)) values[name] = parsed.data;
    if (!origins.has(name)) origins.set(name, origin);
  };

  for (const name of names) {
    const given = flags[name];
    const variable = envName(name);
    if (given !== undefined)
      consider(name, given === true ? 'true' : given, origin(`--${OPTIONS[name].flag}`));
    if (env[variable] && !isFromKubernetes(variable, env[variable]))
      consider(name, env[variable], origin(variable));
  }
  const needsFile = sources.needsFile ?? values['configPath'] !== null;
  const fileName = typeof values['configPath'] === 'string' ? values['configPath'] : CONFIG_FILE;
  if (names.includes('configPath')) {
    file = await openFile(fileName, { needsFile, env, cwd, faults });
    for (const name of file?.unset.names ?? []) faulty.add(name);
    for (const [name, raw] of file?.raw ?? []) {
      const path = isSection(name) ? [name] : (yamlPath(name) ?? []);
      consider(name, raw, {
        at: (inner = []) => file?.locate([...path, ...inner]) ?? fileName,
        prefix: `${path.join('.')}: `,
      });
    }
  }

  // Every property was checked by its schema, or is its default.
  const checked = values as unknown as Values;
  const at: Locate = (name, path) =>
    origins.get(name)?.at(path) ?? (isSection(name) ? name : `--${OPTIONS[name].flag}`);
  faults.push(...contradictions(checked, { command, at, faulty }));
  return faults.length > 0
    ? { ok: false, faults: faults.toSorted((a, b) => lineOf(a) - lineOf(b)) }
    : { ok: true, values: checked, given: new Set(origins.keys()), at, file: file && fileName };
}

const isSection = (name: ValueName): name is SectionName => name in SECTIONS;

/** Flags and variables first, then the file from top to bottom. */
const lineOf = ({ source }: Fault): number => Number(/:(\d+)$/.exec(source)?.[1] ?? 0);

const origin = (source: string): Origin => ({ at: () => source, prefix: '' });

async function openFile(
  name: string,
  options: { needsFile: boolean; env: NodeJS.ProcessEnv; cwd: string; faults: Fault[] },
): Promise<ConfigFile | null> {
  const { needsFile, env, cwd, faults } = options;
  try {
    const file = readConfigFile(await readFile(resolve(cwd, name), 'utf8'), { name, env });
    faults.push(...file.faults);
    return file;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' && !needsFile) return null;
    const reason = code === 'ENOENT' ? 'there is no such file' : `cannot be read (${String(code ?? error)})`;
    faults.push({ source: name, message: reason });
    return null;
  }
}

function toFaults(error: z.ZodError, { at, prefix }: Origin): Fault[] {
  return error.issues.flatMap((issue) => {
    const inner = issue.path.findLast((part) => typeof part === 'string');
    if (issue.code !== 'unrecognized_keys') {
      const message = issue.message.replace(/^Invalid input: /, '');
      return { source: at(issue.path), message: `${prefix}${inner ? `${inner}: ` : ''}${message}` };
    }
    const messages = issue.message.split('\n');
    return issue.keys.map((key, index) => ({
      source: at([...issue.path, key]),
      message: `${prefix}${messages[index] ?? `unknown key '${key}'`}`,
    }));
  });
}

/** A variable that is nearly the name of an option is a fault. Other variables that begin alike may belong to others. */
export function misspelt(env: NodeJS.ProcessEnv): Fault[] {
  const known = [...OPTION_NAMES.map(envName), 'OFFPEAK_ENDPOINT', 'OFFPEAK_TOKEN', 'OFFPEAK_CALLED_AS'];
  return Object.keys(env).flatMap((variable) => {
    if (!variable.startsWith('OFFPEAK_') || known.includes(variable)) return [];
    if (isFromKubernetes(variable, env[variable])) return [];
    const meant = closest(variable, known);
    return meant ? [{ source: variable, message: `unknown variable. Did you mean '${meant}'?` }] : [];
  });
}
