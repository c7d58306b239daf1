import {
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  parseDocument,
  visit,
  type Document,
  type Node,
} from 'yaml';
import type { Fault } from './fault.ts';
import { OPTION_NAMES, yamlPath } from './options.ts';
import { SECTION_NAMES, type ValueName } from './sections.ts';
import { didYouMean } from '../core/suggest.ts';

/** A configuration file as it was read: the raw value of each option and section, and the line of each part. */
export interface ConfigFile {
  readonly raw: ReadonlyMap<ValueName, unknown>;
  readonly faults: readonly Fault[];
  /** Values with a `${NAME}` that is not set. That is their only fault: nothing else is said about them. */
  readonly unset: { readonly names: ReadonlySet<ValueName>; readonly places: ReadonlySet<string> };
  /** Gives `offpeak.yaml:12` for a path into the file, or for the nearest part above it that exists. */
  readonly locate: (path: readonly PropertyKey[]) => string;
}

export function readConfigFile(
  source: string,
  { name, env }: { name: string; env: NodeJS.ProcessEnv },
): ConfigFile {
  const lines = new LineCounter();
  // All scalars stay text: the options know their types, and a key 0012 keeps its zeros.
  const document = parseDocument(source, { lineCounter: lines, schema: 'failsafe', prettyErrors: false });
  const at = (offset: number | undefined) => `${name}:${lines.linePos(offset ?? 0).line || 1}`;
  const faults: Fault[] = document.errors.map((error) => ({
    source: at(error.pos[0]),
    message: `not valid YAML: ${error.message}`,
  }));
  const none: ConfigFile = { raw: new Map(), faults, unset: NONE_UNSET, locate: () => at(0) };
  if (faults.length > 0 || document.contents === null) return none;
  if (!isMap(document.contents)) {
    return { ...none, faults: [{ source: at(0), message: 'expected `key: value` lines' }] };
  }

  const unset = interpolate(document, { env, at });
  const unsetKeys = new Set(unset.map(({ key }) => key));
  faults.push(...unset.map(({ fault }) => fault), ...unknownKeys(document, at));
  const content: unknown = document.toJS();
  const raw = new Map<ValueName, unknown>();
  for (const { name: key, path } of keysOfFile()) {
    const value = valueAt(content, path);
    if (value !== undefined) raw.set(key, value);
  }
  const names = keysOfFile().flatMap(({ name: option, path }) => (unsetKeys.has(path[0]) ? [option] : []));
  return {
    raw,
    faults,
    unset: { names: new Set(names), places: new Set(unset.map(({ fault }) => fault.source)) },
    locate: (path) => at(nearest(document, path)?.range?.[0]),
  };
}

const NONE_UNSET: ConfigFile['unset'] = { names: new Set(), places: new Set() };

/** Every key that a file may have. */
function keysOfFile(): { readonly name: ValueName; readonly path: readonly string[] }[] {
  const ofOptions = OPTION_NAMES.map((option) => ({ name: option, path: yamlPath(option) }));
  const ofSections = SECTION_NAMES.map((section) => ({ name: section, path: [section] }));
  return [...ofOptions, ...ofSections].flatMap(({ name, path }) => (path ? [{ name, path }] : []));
}

type Locate = (offset: number | undefined) => string;

interface Unset {
  readonly fault: Fault;
  /** The key at the top of the file. */
  readonly key: string | undefined;
}

/** Replaces `${NAME}` in values, in place. */
function interpolate(document: Document, { env, at }: { env: NodeJS.ProcessEnv; at: Locate }): Unset[] {
  const unset: Unset[] = [];
  visit(document, {
    Scalar(key, node, ancestors) {
      const top = ancestors.find((ancestor) => isPair(ancestor));
      if (key === 'key' || typeof node.value !== 'string') return;
      node.value = node.value.replaceAll(/\$\{([^}]*)\}/g, (_, variable: string) => {
        const value = env[variable];
        if (value) return value;
        unset.push({
          fault: { source: at(node.range?.[0]), message: `the variable ${variable} is not set` },
          key: isScalar(top?.key) ? String(top.key.value) : undefined,
        });
        return '-';
      });
    },
  });
  return unset;
}

function unknownKeys(document: Document, at: Locate): Fault[] {
  const paths = keysOfFile().map(({ path }) => path);
  const faults: Fault[] = [];
  const check = (map: unknown, prefix: readonly string[]) => {
    if (!isMap(map)) return;
    const inside = paths.filter((path) => prefix.every((key, depth) => path[depth] === key));
    for (const pair of map.items) {
      if (!isPair(pair) || !isScalar(pair.key)) continue;
      const key = String(pair.key.value);
      const known = inside.filter((path) => path[prefix.length] === key);
      if (known.length === 0) {
        const candidates = [...new Set(inside.map((path) => path[prefix.length] ?? ''))];
        faults.push({
          source: at(pair.key.range?.[0]),
          message: `unknown key '${key}'.${didYouMean(key, candidates)}`,
        });
      } else if (known.every((path) => path.length > prefix.length + 1)) {
        check(pair.value, [...prefix, key]);
        if (!isMap(pair.value))
          faults.push({ source: at(pair.key.range?.[0]), message: `${key}: expected keys under it` });
      }
    }
  };
  check(document.contents, []);
  return faults;
}

function valueAt(content: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null
        ? Object.entries(value).find(([k]) => k === key)?.[1]
        : undefined,
    content,
  );
}

/** The node at `path`: the key where there is one, else the value, else the nearest node above. */
function nearest(document: Document, path: readonly PropertyKey[]): Node | undefined {
  for (let depth = path.length; depth > 0; depth--) {
    const parent: unknown = document.getIn(path.slice(0, depth - 1), true);
    const last = path[depth - 1];
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && item.key.value === last)
      : undefined;
    if (isScalar(pair?.key)) return pair.key;
    const node: unknown = document.getIn(path.slice(0, depth), true);
    if (isNode(node)) return node;
  }
  return undefined;
}
