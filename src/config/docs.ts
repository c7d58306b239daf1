import { OBJECTS } from './docs-objects.ts';
import type { Option, OptionCommand } from './option.ts';
import { commandsOf, envName, OPTION_NAMES, OPTIONS, yamlPath, type OptionName } from './options.ts';

/** The page docs/configuration.md. `npm run fix` writes it, and a test compares the file with it. */
export function configurationPage(): string {
  return `${INTRODUCTION}\n${OPTION_NAMES.map(section).join('\n')}\n${OBJECTS}`;
}

function section(name: OptionName): string {
  const { flag, placeholder, kind, help, forRun }: Option<unknown, unknown> = OPTIONS[name];
  const value = placeholder === undefined ? '' : ` ${placeholder}`;
  const path = yamlPath(name);
  return `### \`--${flag}${value}\`

${help}.

- variable: \`${envName(name)}\`
- file: ${path ? `\`${path.join('.')}\`` : 'not there'}
- value: ${kind.what}
- default: ${defaultText(name)}${forRun?.defaultText ? `; for \`run\`: ${forRun.defaultText}` : ''}
- commands: ${commandsOf(name)
    .map((command) => `\`${command}\``)
    .join(', ')}
- changed while the service runs: ${whenChanged(name)}
`;
}

function whenChanged(name: OptionName): string {
  if (!commandsOf(name).includes('serve')) return 'not looked at';
  const { reloads }: Pick<Option<unknown, unknown>, 'reloads'> = OPTIONS[name];
  return reloads ? 'applied on SIGHUP' : 'needs a restart';
}

/** The default as people read it: a value such as `8080`, or words. */
function defaultText(name: OptionName): string {
  const entry: { default: string | number | boolean | null | readonly string[]; defaultText?: string } =
    OPTIONS[name];
  return entry.defaultText ?? [entry.default ?? 'none'].flat().join(', ');
}

/** Text of an option in the `--help` of a command. */
export function optionHelp(name: OptionName, command: OptionCommand): string {
  const { help, forRun }: Pick<Option<unknown, unknown>, 'help' | 'forRun'> = OPTIONS[name];
  const said = { help, defaultText: defaultText(name), ...(command === 'run' && forRun) };
  return `${said.help} [${envName(name)}; default: ${said.defaultText}]`;
}

const INTRODUCTION = `# Configuration

<!-- Made from src/config/options.ts by \`npm run fix\`. -->

Every option is a flag, an environment variable and a key of \`offpeak.yaml\`. Flags go before variables, variables before
the file, the file before the defaults. All faults are reported together, each with its flag, variable or line; a
misspelt key is a fault. Relative paths start at the working directory. \`offpeak serve --help\` prints the same list.

Keys of cloud services in the environment (\`OPENAI_API_KEY\`, \`AZURE_OPENAI_API_KEY\`) are never used by \`serve\` or
\`run\`: hand over the one you mean, as \`--upstream-api-key "$OPENAI_API_KEY"\` or as \`\${OPENAI_API_KEY}\` in the file.

\`\`\`yaml
# offpeak.yaml
port: 8080
dataDir: /var/lib/offpeak
apiKey: \${OFFPEAK_KEY}
deployments:
  - gpt-4o-batch-deployment=gpt-4o # the upstream of \`upstream\`
  - name: llama-batch
    model: llama-3.3-70b
    enqueuedTokens: 200M
    concurrency: 64
    upstreams:
      - url: http://10.0.0.5:8000/v1
        model: meta-llama/Llama-3.3-70B-Instruct
      - url: http://10.0.0.6:8000/v1
        apiKey: \${SECOND_SERVER_KEY}
        model: meta-llama/Llama-3.3-70B-Instruct
upstream: http://127.0.0.1:11434/v1
simulator:
  latency: 200ms
\`\`\`

A service for several teams names its upstreams once, and gives each team a resource; both are described
[below](#objects-of-the-file):

\`\`\`yaml
offer: unlimited
upstreams:
  - name: frankfurt
    url: http://10.0.0.5:8000/v1
    region: germanywestcentral
    models: { llama-3.3-70b: meta-llama/Llama-3.3-70B-Instruct }
  - name: virginia
    url: http://10.1.0.5:8000/v1
    region: eastus
    models: { llama-3.3-70b: meta-llama/Llama-3.3-70B-Instruct }
resources:
  - name: search
    location: germanywestcentral
    keys: ['\${SEARCH_KEY}']
    deployments:
      - { name: bulk, model: llama-3.3-70b } # both
      - { name: bulk-eu, model: llama-3.3-70b, sku: DataZoneBatch } # frankfurt alone
\`\`\`

## Options
`;
