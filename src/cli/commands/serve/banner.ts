import { resolve } from 'node:path';
import type { App } from '../../../app.ts';
import type { AppConfig } from '../../../config/config.ts';
import type { ValueName } from '../../../config/sections.ts';
import { addressText, type UpstreamAddress } from '../../../config/upstream-address.ts';
import { DEFAULT_RESOURCE_ID } from '../../../contract/scope.ts';
import type { UpstreamState } from '../../../deployments/fleet/upstream-check.ts';
import { detectLocalServers } from '../../../upstream/detect.ts';
import { API_VERSION } from '../../client/endpoint.ts';
import { commandName, EXAMPLE, EXAMPLE_DEPLOYMENT, exampleArgument } from '../../process/command-name.ts';
import { oneLine } from '../../terminal/print.ts';
import { wrap } from '../../terminal/width.ts';

export interface Started {
  readonly app: App;
  readonly config: AppConfig;
  readonly url: string;
  /** The file with keys that no terminal has shown; null: there is none, or this terminal shows them. */
  readonly keysFile: string | null;
  /** What a check found out about each. */
  readonly upstreams: readonly UpstreamState[];
  /** The deployments of the resources that the configuration names; those of the default resource come first. */
  readonly deployments: readonly Served[];
}

export interface Served {
  readonly resource: string;
  readonly name: string;
  readonly model: string;
  readonly upstreams: readonly UpstreamAddress[];
}

/** What a person needs to begin. Only a terminal shows keys. `columns` is its width; null: this is not a terminal. */
export function banner(started: Started, given: ReadonlySet<ValueName>, columns: number | null): string {
  const { app, config, url, upstreams, deployments } = started;
  const others = config.resources.slice(1).map(({ id }) => id);
  const { localCertPath: cert } = app;
  const rows: (Row | false)[] = [
    ...keyRows(started, given),
    ...rowsOf('deployments', deployments.map(describe), 'none yet'),
    ...rowsOf('upstreams', upstreams.map(describeState), 'none'),
    others.length > 0 && ['resources', `default, ${others.join(', ')}`],
    ['data', resolve(config.dataDir)],
    cert !== null && ['certificate', cert],
    cert !== null && ['', `Clients must trust it: export NODE_EXTRA_CA_CERTS='${cert}'`],
  ];
  return `
Offpeak is ready at ${url}

${rows.flatMap((row) => (row ? linesOf(row, columns) : [])).join('\n')}

${nextStep(started)}
`;
}

type Row = readonly [name: string, value: string];

const INDENT = 15;

/** A value without blanks stays whole, so that users can copy it. */
function linesOf([name, value]: Row, columns: number | null): string[] {
  const width = columns === null ? Infinity : Math.max(20, columns - INDENT);
  const lines = value.includes(' ') ? wrap(value, width) : [value];
  return lines.map((line, at) => (at === 0 ? `  ${name}` : '').padEnd(INDENT) + line);
}

const rowsOf = (name: string, values: readonly string[], none: string): Row[] =>
  (values.length > 0 ? values : [none]).map((value, at) => [at === 0 ? name : '', value]);

function keyRows({ app, keysFile }: Started, given: ReadonlySet<ValueName>): (Row | false)[] {
  const { apiKey, adminKey } = app.firstKeys;
  const shown = (key: string): string => (keysFile === null ? key : `in ${keysFile}`);
  const known = given.has('apiKey') ? 'as configured' : 'the one made at the first start';
  return [
    ['key', apiKey === null ? known : shown(apiKey)],
    ['', keysFile !== null && apiKey !== null ? FILE_ADVICE : keyAdvice(apiKey, given)],
    keysFile !== null &&
      apiKey === null &&
      adminKey === null && ['', `Keys of an earlier start that no terminal has shown are in ${keysFile}`],
    adminKey !== null && ['admin key', shown(adminKey)],
    adminKey !== null && [
      '',
      'It opens the control plane (resources, deployments, quota), and is not shown again.',
    ],
  ];
}

const FILE_ADVICE = 'Only you can read the file. Keep its keys elsewhere, and delete it.';

function keyAdvice(firstKey: string | null, given: ReadonlySet<ValueName>): string {
  if (firstKey !== null) return 'It was made just now and is not shown again. Keep it.';
  return given.has('apiKey')
    ? 'Callers send it as api-key.'
    : 'Lost? Start with --api-key KEY to set another.';
}

function nextStep({ app, url, keysFile, deployments }: Started): string {
  const { apiKey, adminKey } = app.firstKeys;
  const setUp = (name: 'OFFPEAK_API_KEY' | 'OFFPEAK_ADMIN_KEY', made: string | null): string =>
    made !== null && keysFile !== null
      ? `  set -a; . '${keysFile}'; OFFPEAK_ENDPOINT=${url}; set +a`
      : `  export ${name}=${made ?? 'KEY'} OFFPEAK_ENDPOINT=${url}`;
  const [first] = deployments;
  // Without a deployment the example would fail.
  if (first === undefined)
    return `Deploy a model:
${setUp('OFFPEAK_ADMIN_KEY', adminKey)}
  ${commandName()} models
  ${commandName()} deployments create ${EXAMPLE_DEPLOYMENT} --model MODEL --capacity 50`;
  if (first.resource !== DEFAULT_RESOURCE_ID)
    return `Send it a batch, a file whose lines have "model": "${first.name}",
with a key of the resource ${first.resource}:
  ${commandName()} batches create --resource ${first.resource} --api-key KEY --file FILE --watch`;
  if (
    !deployments.some(({ resource, name }) => resource === DEFAULT_RESOURCE_ID && name === EXAMPLE_DEPLOYMENT)
  )
    return `Send it a batch, a file whose lines have "model": "${first.name}":
${setUp('OFFPEAK_API_KEY', apiKey)}
  ${commandName()} batches create --file FILE --watch`;
  const trust = app.localCertPath === null ? '' : ` --cacert '${app.localCertPath}'`;
  return `Try it:
${setUp('OFFPEAK_API_KEY', apiKey)}
  ${commandName()} batches create --file ${exampleArgument()} --watch
or upload with curl:
  curl${trust} "${url}/openai/files?api-version=${API_VERSION}" -H "api-key: $OFFPEAK_API_KEY" \\
    -F purpose=batch -F "file=@${EXAMPLE};type=application/json"`;
}

const describeState = ({ name, state, reason }: UpstreamState): string =>
  `${oneLine(name)}${state === 'unready' ? ' cannot serve as it is' : ''}: ${oneLine(reason)}`;
const describe = ({ resource, name, model, upstreams }: Served): string =>
  `${resource === DEFAULT_RESOURCE_ID ? '' : `${resource}: `}${name} (${model}) → ${upstreams.map(addressText).join(', ')}`;

/** Lists the model servers that run on this machine, each with the command that uses it. */
export async function localServers(ownPort: number): Promise<string> {
  const found = await detectLocalServers({ skipPort: ownPort });
  const commands = found.map(({ name, baseUrl, models }) => {
    // Users copy this line into a shell, so it never has a name that a shell could misread.
    const model = models.find((candidate) => /^[\w.:/@-]+$/.test(candidate)) ?? 'MODEL';
    return `  ${name} runs here: ${commandName()} serve --upstream ${baseUrl} --deployment ${EXAMPLE_DEPLOYMENT}=${model}\n`;
  });
  return `Answers are simulated. Name a model server with --upstream URL --deployment NAME=MODEL.\n${commands.join('')}`;
}
