import { Command, CommanderError, Option } from 'commander';
import { defaultText } from '../../config/docs.ts';
import { ConfigError } from '../../config/fault.ts';
import type { OptionCommand } from '../../config/option.ts';
import { envName, OPTIONS, optionsOf } from '../../config/options.ts';
import type { ClientFlags, ListFlags } from '../client/batch-client.ts';
import type { CreateFlags, DownloadFlags } from '../commands/batches.ts';
import type { RunFlags } from '../commands/run/job.ts';
import type { TableFlags } from '../process/configure.ts';
import { CliError, EXIT, EXIT_MEANINGS, type ExitCode } from '../process/exit.ts';
import { columnsOf, factLines, helpText, note, print } from '../terminal/print.ts';
import { addControl } from './control-commands.ts';
import { collect, onNamed, type Run, seconds, waitOrFail, wholeNumber } from './flags.ts';

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
function buildProgram(run: Run, version: string): Command {
  const program = new Command('offpeak')
    .description('The Batch service of Azure OpenAI, self-hosted.')
    .version(version, '-v, --version', 'show the version')
    .helpCommand('help [command]', 'show the help of a command')
    // `--version` of a subcommand is the version of a model.
    .enablePositionalOptions()
    .showHelpAfterError('Run it with --help to see what there is.')
    .exitOverride()
    .addHelpText('after', exitCodesText());
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

function exitCodesText(): string {
  const lines = factLines(
    Object.entries(EXIT_MEANINGS).map(([code, meaning]) => [`  ${code}`, meaning]),
    columnsOf(process.stdout),
  );
  return `\nExit codes:\n${lines.join('\n')}`;
}

function addServer(program: Command, run: Run): void {
  withTable(program.command('serve').description('Run the service'), 'serve')
    .option('--json', 'print what started as one line of JSON')
    .action(
      run(async (flags: CommandFlags) =>
        (await import('../commands/serve/serve.ts')).serve(tableFlags('serve', flags), {
          json: flags.json === true,
        }),
      ),
    );
  withTable(program.command('simulator').description('Run only the simulated model server'), 'simulator')
    .option('--host <HOST>', 'address to listen on', OPTIONS.host.default)
    .option('--port <PORT>', 'port to listen on; 0 takes a free one', wholeNumber, 8000)
    .option('--json', 'print what started as one line of JSON')
    .action(
      run(async (flags: CommandFlags & { host: string; port: number }) =>
        (await import('../commands/simulator.ts')).simulator(tableFlags('simulator', flags), flags),
      ),
    );
  program
    .command('quickstart')
    .description('See a batch run from start to end, with the simulator')
    .option('--json', 'print the outcome as JSON')
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
    .option('--json', 'print the findings as JSON')
    .action(
      run(async (flags: CommandFlags) =>
        (await import('../commands/verify.ts')).verifyInstallation(tableFlags('verify', flags), {
          json: flags.json === true,
        }),
      ),
    );
  withTable(
    program
      .command('run')
      .description(
        'Run a whole batch file without a server. After a stop or a crash, the same command goes on',
      )
      .argument('<in.jsonl>', 'the batch file; - is standard input')
      .option(
        '-o, --output <FILE>',
        'answers; by default in.output.jsonl beside the input; - is standard output, also the default if the input is -',
      )
      .option('-e, --errors <FILE>', 'failed requests; by default in.errors.jsonl beside the output')
      .option('--model <MODEL>', "the model's name at the upstream; by default the one in the lines")
      .option(
        '--retry-failed',
        'after a finished run: send the failed requests again, and merge the new answers into the output',
      )
      .option('--force', 'send every request, also those with an answer, and replace the output'),
    'run',
  )
    .option('--all', 'print every fault of the input')
    .option('--json', 'print the outcome as JSON')
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
    .argument('<in.jsonl>', 'the batch file; - is standard input')
    .option('--exact', 'count every token instead of estimating')
    .option('--all', 'print every fault')
    .option('--json', 'print the findings as JSON')
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
    .option('--file <in.jsonl>', 'the batch file to upload; - is standard input')
    .option('--input-file-id <ID>', 'or a file that was uploaded before')
    .option('--url <PATH>', 'endpoint that the lines call; by default the one in the first line')
    .option('--metadata <NAME=VALUE>', 'note on the batch; may be repeated', collect)
    .option(
      '--queue <wait|fail>',
      'if the deployment has no room: wait for it, or fail; by default as the deployment is set',
      waitOrFail,
    )
    .option('--watch', 'show the progress until the batch is over')
    .option('--all', 'print every fault')
    .option('--interval <SECONDS>', 'time between two polls while watching', seconds)
    .action(run(async (flags: CreateFlags) => (await load()).createBatch(flags)));
  client(batches, 'get', 'Show a batch')
    .argument('<id>')
    .option('--all', 'print every fault')
    .action(run(on<ClientFlags>((module, id, flags) => module.getBatch(id, flags))));
  paged(client(batches, 'list', 'List batches, newest first'))
    .option('--filter <EXPRESSION>', `such as "status eq 'Completed'"`)
    .action(run(async (flags: ListFlags) => (await load()).listBatches(flags)));
  client(batches, 'watch', 'Show the progress of a batch until it is over')
    .argument('<id>')
    .option('--all', 'print every fault')
    .option('--interval <SECONDS>', 'time between two polls', seconds)
    .action(run(on<WatchFlags>((module, id, flags) => module.watch(id, flags))));
  client(batches, 'cancel', 'Cancel a batch; its answers so far are kept')
    .argument('<id>')
    .action(run(on<ClientFlags>((module, id, flags) => module.cancelBatch(id, flags))));
  client(batches, 'download', 'Write the output and the errors of a batch')
    .argument('<id>')
    .option('-o, --output <FILE>', 'answers; by default ID_output.jsonl; - is standard output')
    .option('-e, --errors <FILE>', 'failed requests; by default ID_errors.jsonl')
    .action(run(on<DownloadFlags>((module, id, flags) => module.downloadBatch(id, flags))));
}

function addFiles(files: Command, run: Run): void {
  const load = () => import('../commands/files.ts');
  const on = onNamed(load);
  client(files, 'upload', 'Upload a file and print the id')
    .argument('<file>', 'the file; - is standard input')
    .option('--purpose <PURPOSE>', 'purpose of the file', 'batch')
    .action(run(on<ClientFlags & { purpose: string }>((module, id, flags) => module.uploadFile(id, flags))));
  paged(client(files, 'list', 'List files, newest first'))
    .option('--purpose <PURPOSE>', 'only files of this purpose')
    .action(run(async (flags: ListFlags) => (await load()).listFiles(flags)));
  client(files, 'get', 'Show a file')
    .argument('<id>')
    .action(run(on<ClientFlags>((module, id, flags) => module.getFile(id, flags))));
  client(files, 'download', 'Write the content of a file')
    .argument('<id>')
    .option('-o, --output <FILE>', 'file to write to; - is standard output', '-')
    .action(run(on<ClientFlags & { output: string }>((module, id, flags) => module.downloadFile(id, flags))));
  client(files, 'delete', 'Delete a file')
    .argument('<id>')
    .action(run(on<ClientFlags>((module, id, flags) => module.deleteFile(id, flags))));
}

const client = (parent: Command, name: string, description: string): Command =>
  parent
    .command(name)
    .description(description)
    .option('--endpoint <URL>', 'service to call; see below')
    .option('--api-key <KEY>', 'key for the service')
    .option('--resource <NAME>', 'resource, if the service has several; the key must be one of that resource')
    .option('--api-version <VERSION>', "api-version, in Azure's style")
    .option('--json', 'print what the service answers as JSON')
    .addHelpText('after', () => helpText(ENDPOINTS));

const ENDPOINTS = `
The service is the first of these that there is: --endpoint; OFFPEAK_ENDPOINT; the service that runs over the data \
directory here; http://127.0.0.1:8080, if any other OFFPEAK_ variable is set; AZURE_OPENAI_ENDPOINT or OPENAI_BASE_URL \
(if both are set, choose with --endpoint); http://127.0.0.1:8080. It is printed before anything is sent.
Each service has a key of its own, which is sent to no other: OFFPEAK_API_KEY (or OFFPEAK_TOKEN, a token of your \
identity provider), AZURE_OPENAI_API_KEY, OPENAI_API_KEY.
A URL that ends in /v1 is called in OpenAI's style, any other in Azure's.`;

const paged = (command: Command): Command =>
  command
    .option('--limit <N>', 'print at most so many', wholeNumber, 20)
    .option('--after <ID>', 'print those that come after this id');

type CommandFlags = Readonly<Record<string, string | string[] | boolean | undefined>> & { json?: boolean };

function withTable(command: Command, name: OptionCommand): Command {
  for (const key of optionsOf(name)) {
    const { flag, placeholder, help, repeatable } = { repeatable: false, ...OPTIONS[key] };
    const option = new Option(
      placeholder === null ? `--${flag}` : `--${flag} <${placeholder}>`,
      `${help} [${envName(key)}; default: ${defaultText(key)}]`,
    );
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
