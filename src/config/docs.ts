import { AUTH_STYLES, SKUS } from './deployment.ts';
import { envName, OPTION_NAMES, OPTIONS, yamlPath, type OptionName } from './options.ts';

/** docs/configuration.md. A test holds the file against it; `npm run fix` writes it. */
export function configurationPage(): string {
  return `${INTRODUCTION}\n${OPTION_NAMES.map(section).join('\n')}\n${DEPLOYMENTS}`;
}

function section(name: OptionName): string {
  const { flag, placeholder, kind, help, commands } = OPTIONS[name];
  const value = placeholder === null ? '' : ` ${placeholder}`;
  const path = yamlPath(name);
  return `### \`--${flag}${value}\`

${help}

- variable: \`${envName(name)}\`
- file: ${path ? `\`${path.join('.')}\`` : 'not there'}
- value: ${kind.what}
- default: ${defaultText(name)}
- commands: ${commands.map((command) => `\`${command}\``).join(', ')}
`;
}

/** For people: \`8080\`, or words. */
export function defaultText(name: OptionName): string {
  const entry: { default: string | number | boolean | null | readonly string[]; defaultText?: string } =
    OPTIONS[name];
  return entry.defaultText ?? (entry.default === null ? 'none' : entry.default.toString());
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

## Options
`;

const DEPLOYMENTS = `## Deployments in the file

\`deployments\` is a list. Each item is \`NAME\` or \`NAME=MODEL\`, as on the command line, or a mapping:

- \`name\`: what callers put in \`model\`
- \`model\`: base model; the name when omitted
- \`sku\`: ${SKUS.join(', ')}; GlobalBatch when omitted
- \`enqueuedTokens\`: input tokens that its live batches may hold together; as above when omitted
- \`concurrency\`: requests in flight over all its upstreams; as above when omitted
- \`upstreams\`: the least loaded healthy one takes the next request; the one of \`upstream\` when omitted

Each of the \`upstreams\` is \`simulator\`, a URL, or a mapping:

- \`url\`: base URL of an OpenAI-compatible API, or \`simulator\`
- \`apiKey\`: key for it; none when omitted
- \`model\`: the model's name there; the deployment's \`model\` when omitted
- \`authStyle\`: ${AUTH_STYLES.join(' or ')}, which header carries the key; api-key for Azure's hosts, else bearer
- \`apiVersion\`: calls Azure's classic paths, \`{url}/openai/deployments/{model}/…?api-version=…\`; for resources without \`/openai/v1\`
- \`requestTimeout\`: how long it may take over one request; as above when omitted

\`\${NAME}\` in any value stands for the environment variable NAME; it is a fault when that is not set.
`;
