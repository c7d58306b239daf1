import { Command, CommanderError, Option } from 'commander';
import { optionHelp } from '../../config/docs.ts';
import { ConfigError } from '../../config/fault.ts';
import type { OptionCommand, Option as TableOption } from '../../config/option.ts';
import { commandsOf, OPTION_HEADINGS, OPTION_NAMES, OPTIONS, optionsOf } from '../../config/options.ts';
import type { ClientFlags, ListFlags } from '../client/batch-client.ts';
import type { CreateFlags, DownloadFlags } from '../commands/batches.ts';
import type { RunFlags } from '../commands/run/job.ts';
import type { TableFlags } from '../process/configure.ts';
import { CliError, EXIT, EXIT_MEANINGS, type ExitCode } from '../process/exit.ts';
import { note, print } from '../terminal/print.ts';
import { addControl } from './control-commands.ts';
import { collect, onNamed, type Run, seconds, waitOrFail, wholeNumber } from './flags.ts';
import { FIRST_ENDPOINTS, helpItem, helpText, helpUsage } from './help.ts';

/** Parses the command line, runs the command, and returns the process's exit code. */
export async function main(argv: readonly string[], { version }: { version: string }): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT.ok;
  const run =
    <Args extends unknown[]>(action: (...args: Args) => Promise<ExitCode>) =>
    async (...args: Args) => {
      exitCode = await action(...args);
    };
  try {
    await buildProgram(run, version).parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    if (error instanceof ConfigError) {
      note(`offpeak: ${error.message}`);
      return EXIT.usage;
    }
    if (!(error instanceof CliError)) throw error;
    note(`offpeak: ${error.message}`);
    return error.exitCode;
  }
}

/** A command's code is loaded when the command runs, so that `--help` and the clients start quickly. */
export function buildProgram(run: Run, version: string): Command {
  const program = new Command('offpeak')
    .description('The Batch service of Azure OpenAI, self-hosted')
    .version(version, '-v, --version', 'Show the version')
    .helpOption('-h, --help', 'Show the help of this command')
    .configureHelp({ minWidthToWrap: 20, formatItem: helpItem, styleUsage: helpUsage })
    .helpCommand('help [command]', 'Show the help of a command')
    // `--version` of a subcommand is the version of a model.
    .enablePositionalOptions()
    .showHelpAfterError('Run it with --help to see what there is.')
    .exitOverride()
    .addHelpText('after', () => helpText(EXIT_CODES));
  program
    .command('version')
    .description('Show the version')
    .action(
      run(async () => {
        print(version);
        return EXIT.ok;
      }),
    );
  addServer(program, run);
  addLocalJobs(program, run);
  addBatches(program.command('batches').description('Batches of a running service'), run);
  addFiles(program.command('files').description('Files of a running service'), run);
  addControl(program, run);
  return program;
}

const EXIT_CODES = `
Exit codes:
${Object.entries(EXIT_MEANINGS)
  .map(([code, meaning]) => `  ${code}  ${meaning}`)
  .join('\n')}`;

function addServer(program: Command, run: Run): void {
  withTable(program.command('serve').description('Run the service'), 'serve')
    .option('--json', 'Print what started as one line of JSON')
    .action(
      run(async (flags: CommandFlags) =>
        (await import('../commands/serve/serve.ts')).serve(tableFlags('serve', flags), flags),
      ),
    );
  withTable(program.command('simulator').description('Run only the simulated model server'), 'simulator')
    .option('--host <HOST>', 'Address to listen on', OPTIONS.host.default)
    .option('--port <PORT>', 'Port to listen on; 0 takes a free one', wholeNumber, 8000)
    .option('--json', 'Print what started as one line of JSON')
    .action(
      run(async (flags: CommandFlags & { host: string; port: number }) =>
        (await import('../commands/simulator.ts')).simulator(tableFlags('simulator', flags), flags),
      ),
    );
  program
    .command('quickstart')
    .description('See a batch run from start to end, with the simulator')
    .option('--json', 'Print the outcome as JSON')
    .action(
      run(async (flags: { json?: boolean }) => (await import('../commands/quickstart.ts')).quickstart(flags)),
    );
}

function addLocalJobs(program: Command, run: Run): void {
  withTable(
    program
      .command('verify')
      .description(
        'Check that every file of a data directory is there and as it was stored. It changes nothing',
      ),
    'verify',
  )
    .option('--json', 'Print the findings as JSON')
    .action(
      run(async (flags: CommandFlags) =>
        (await import('../commands/verify.ts')).verifyInstallation(tableFlags('verify', flags), flags),
      ),
    );
  withTable(
    program
      .command('run')
      .description(
        'Run a whole batch file without a server. After a stop or a crash, the same command goes on',
      )
      .argument('<in.jsonl>', 'The batch file; - is standard input')
      .option(
        '-o, --output <FILE>',
        'Answers; by default in.output.jsonl beside the input; - is standard output, also the default if the input is -',
      )
      .option('-e, --errors <FILE>', 'Failed requests; by default in.errors.jsonl beside the output')
      .option('--model <MODEL>', "The model's name at the upstream; by default the one in the lines")
      .option(
        '--retry-failed',
        'After a finished run: send the failed requests again, and merge the new answers into the output',
      )
      .option('--force', 'Send every request, also those with an answer, and replace the output'),
    'run',
  )
    .option('--all', 'Print every fault of the input')
    .option('--json', 'Print the outcome as JSON')
    .action(
      run(async (input: string, flags: CommandFlags & RunFlags) =>
        (await import('../commands/run/run.ts')).runBatch(input, tableFlags('run', flags), flags),
      ),
    );
  program
    .command('validate')
    .description(
      'Check a batch file: print every fault with its line, and count the tokens. It sends nothing',
    )
    .argument('<in.jsonl>', 'The batch file; - is standard input')
    .option('--exact', 'Count every token instead of estimating')
    .option('--all', 'Print every fault')
    .option('--json', 'Print the findings as JSON')
    .action(
      run(async (input: string, flags: { exact?: boolean; all?: boolean; json?: boolean }) =>
        (await import('../commands/validate.ts')).validate(input, flags),
      ),
    );
}

type WatchFlags = ClientFlags & { readonly interval?: number };

function addBatches(batches: Command, run: Run): void {
  const load = () => import('../commands/batches.ts');
  const on = onNamed(load);
  client(batches, 'create', 'Upload a file, start a batch over it, and print the id')
    .option('--file <in.jsonl>', 'The batch file to upload; - is standard input')
    .option('--input-file-id <ID>', 'Id of a file that was uploaded before, instead of --file')
    .option('--url <PATH>', 'Endpoint that the lines call; by default the one in the first line')
    .option('--metadata <NAME=VALUE>', 'Note on the batch; may be repeated', collect)
    .option(
      '--queue <wait|fail>',
      'If the deployment has no room: wait for it, or fail; by default as the deployment is set',
      waitOrFail,
    )
    .option('--watch', 'Show the progress until the batch is over')
    .option('--all', 'Print every fault')
    .option('--interval <SECONDS>', 'Time between two polls while watching', seconds)
    .action(run(async (flags: CreateFlags) => (await load()).createBatch(flags)));
  client(batches, 'get', 'Show a batch')
    .argument('<id>')
    .option('--all', 'Print every fault')
    .action(run(on<ClientFlags>((module, id, flags) => module.getBatch(id, flags))));
  paged(client(batches, 'list', 'List batches, newest first'))
    .option('--filter <EXPRESSION>', `Only batches that match, such as "status eq 'Completed'"`)
    .action(run(async (flags: ListFlags) => (await load()).listBatches(flags)));
  client(batches, 'watch', 'Show the progress of a batch until it is over')
    .argument('<id>')
    .option('--all', 'Print every fault')
    .option('--interval <SECONDS>', 'Time between two polls', seconds)
    .action(run(on<WatchFlags>((module, id, flags) => module.watch(id, flags))));
  client(batches, 'cancel', 'Cancel a batch; its answers so far are kept')
    .argument('<id>')
    .action(run(on<ClientFlags>((module, id, flags) => module.cancelBatch(id, flags))));
  client(batches, 'download', 'Write the output and the errors of a batch')
    .argument('<id>')
    .option('-o, --output <FILE>', 'Answers; by default ID_output.jsonl; - is standard output')
    .option('-e, --errors <FILE>', 'Failed requests; by default ID_errors.jsonl')
    .action(run(on<DownloadFlags>((module, id, flags) => module.downloadBatch(id, flags))));
}

function addFiles(files: Command, run: Run): void {
  const load = () => import('../commands/files.ts');
  const on = onNamed(load);
  client(files, 'upload', 'Upload a file and print the id')
    .argument('<file>', 'The file; - is standard input')
    .option('--purpose <PURPOSE>', 'Purpose of the file', 'batch')
    .action(run(on<ClientFlags & { purpose: string }>((module, id, flags) => module.uploadFile(id, flags))));
  paged(client(files, 'list', 'List files, newest first'))
    .option('--purpose <PURPOSE>', 'Only files of this purpose')
    .action(run(async (flags: ListFlags) => (await load()).listFiles(flags)));
  client(files, 'get', 'Show a file')
    .argument('<id>')
    .action(run(on<ClientFlags>((module, id, flags) => module.getFile(id, flags))));
  client(files, 'download', 'Write the content of a file')
    .argument('<id>')
    .option('-o, --output <FILE>', 'File to write to; - is standard output', '-')
    .action(run(on<ClientFlags & { output: string }>((module, id, flags) => module.downloadFile(id, flags))));
  client(files, 'delete', 'Delete a file')
    .argument('<id>')
    .action(run(on<ClientFlags>((module, id, flags) => module.deleteFile(id, flags))));
}

const client = (parent: Command, name: string, description: string): Command =>
  parent
    .command(name)
    .description(description)
    .option('--endpoint <URL>', 'Service to call; see below')
    .option('--api-key <KEY>', 'Key for the service')
    .option('--resource <NAME>', 'Resource, if the service has several; the key must be one of that resource')
    .option('--api-version <VERSION>', "API version to send, in Azure's style only")
    .option('--json', 'Print what the service answers as JSON')
    .addHelpText('after', () => helpText(ENDPOINTS));

const ENDPOINTS = `${FIRST_ENDPOINTS}
  4. AZURE_OPENAI_ENDPOINT or OPENAI_BASE_URL, if no other OFFPEAK_ variable is set; choose with --endpoint if both are set
  5. http://127.0.0.1:8080, or the port of OFFPEAK_PORT

Each service has a key of its own, which is sent to no other: OFFPEAK_API_KEY (or OFFPEAK_TOKEN, a token of your \
identity provider), AZURE_OPENAI_API_KEY, OPENAI_API_KEY.
A URL that ends in /v1 is called in OpenAI's style, any other in Azure's.`;

const paged = (command: Command): Command =>
  command
    .option('--limit <N>', 'Print at most so many', wholeNumber, 20)
    .option('--after <ID>', 'Print those that come after this id');

type CommandFlags = Readonly<Record<string, string | string[] | boolean | undefined>> & { json?: boolean };

function withTable(command: Command, name: OptionCommand): Command {
  let heading = '';
  for (const key of OPTION_NAMES) {
    heading = OPTION_HEADINGS[key] ?? heading;
    if (!commandsOf(key).includes(name)) continue;
    const { flag, placeholder, repeatable }: TableOption<unknown, unknown> = OPTIONS[key];
    const flags = placeholder === undefined ? `--${flag}` : `--${flag} <${placeholder}>`;
    const option = new Option(flags, optionHelp(key, name)).helpGroup(heading);
    if (repeatable) option.argParser(collect);
    command.addOption(option);
  }
  return command;
}

function tableFlags(command: OptionCommand, flags: CommandFlags): TableFlags {
  const given = optionsOf(command).flatMap((key) => {
    const value = flags[new Option(`--${OPTIONS[key].flag}`).attributeName()];
    return value === undefined ? [] : [[key, value]];
  });
  return Object.fromEntries(given);
}
