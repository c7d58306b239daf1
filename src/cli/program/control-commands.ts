import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_RESOURCE_GROUP } from '../../config/config.ts';
import { envName, OPTIONS } from '../../config/options.ts';
import { DEFAULT_RESOURCE_ID } from '../../contract/scope.ts';
import type { ControlCommandFlags, LocationFlags } from '../client/control-client.ts';
import type { AuditFlags } from '../commands/audit.ts';
import type { DeploymentFlags, InResourceFlags } from '../commands/deployments.ts';
import type { KeysFlags, ResourceFlags } from '../commands/resources.ts';
import { collect, onNamed, type Run, waitOrFail, wholeNumber } from './flags.ts';
import { FIRST_ENDPOINTS, helpText } from './help.ts';

/** Adds the commands of the control plane. Each is an HTTP client of a running service. */
export function addControl(program: Command, run: Run): void {
  addResources(program.command('resources').description('Resources (tenants) of a running service'), run);
  addDeployments(program.command('deployments').description('Deployments of a resource'), run);
  control(program, 'models', 'Show what can be deployed where, and how much quota is left')
    .option('--location <REGION>', ONLY_REGION)
    .action(run(async (flags: LocationFlags) => (await import('../commands/models.ts')).listModels(flags)));
  control(program, 'quota', 'Show what deployments have of each quota, and what their batches hold of that')
    .option('--location <REGION>', ONLY_REGION)
    .action(run(async (flags: LocationFlags) => (await import('../commands/quota.ts')).showQuota(flags)));
  control(program, 'audit', 'Show who changed what, newest first')
    .option('--resource <NAME>', 'Only changes of this resource')
    .option('--limit <N>', 'Print at most so many', wholeNumber, 20)
    .option('--before <NUMBER>', 'Print entries older than this one', wholeNumber)
    .action(run(async (flags: AuditFlags) => (await import('../commands/audit.ts')).showAudit(flags)));
}

const ONLY_REGION = 'Only this region; by default every region with resources of the subscription';

function addResources(resources: Command, run: Run): void {
  const load = () => import('../commands/resources.ts');
  const on = onNamed(load);

  control(resources, 'list', 'List resources').action(
    run(async (flags: ControlCommandFlags) => (await load()).listResources(flags)),
  );
  named(control(resources, 'show', 'Show a resource')).action(
    run(on<ControlCommandFlags>((module, name, flags) => module.showResource(name, flags))),
  );
  withResource(named(control(resources, 'create', 'Create a resource')))
    .option('--location <REGION>', 'Region; by default that of the default resource')
    .action(run(on<ResourceFlags>((module, name, flags) => module.createResource(name, flags))));
  withResource(named(control(resources, 'update', 'Change a resource')))
    .option('--enable-key-auth', 'Accept its keys again')
    .action(run(on<ResourceFlags>((module, name, flags) => module.updateResource(name, flags))));
  named(control(resources, 'delete', 'Delete a resource with its deployments, files and keys; asks first'))
    .option('--yes', 'Do not ask')
    .action(
      run(
        on<ControlCommandFlags & { yes?: boolean }>((module, name, flags) =>
          module.deleteResource(name, flags),
        ),
      ),
    );
  named(control(resources, 'keys', 'Make and show the keys that are missing, or replace one'))
    .option('--regenerate <1|2>', 'Replace this key; the old one is refused from then on')
    .action(run(on<KeysFlags>((module, name, flags) => module.resourceKeys(name, flags))));
}

const withResource = (command: Command): Command =>
  command
    .option('--offer <OFFER>', OPTIONS.offer.help)
    .option('--disable-key-auth', 'Accept tokens only, no keys')
    .option('--tag <NAME=VALUE>', 'Tag of the resource; may be repeated', collect);

function addDeployments(deployments: Command, run: Run): void {
  const load = () => import('../commands/deployments.ts');
  const on = onNamed(load);

  inResource(control(deployments, 'list', 'List deployments')).action(
    run(async (flags: InResourceFlags) => (await load()).listDeployments(flags)),
  );
  inResource(named(control(deployments, 'show', 'Show a deployment'))).action(
    run(on<InResourceFlags>((module, name, flags) => module.showDeployment(name, flags))),
  );
  const create = inResource(named(control(deployments, 'create', 'Deploy a model')));
  create.requiredOption('--model <MODEL>', 'Model of the catalog; `offpeak models` lists it');
  withDeployment(create)
    .option(
      '--sku <SKU>',
      'GlobalBatch, DataZoneBatch; for online use GlobalStandard, DataZoneStandard, Standard',
      'GlobalBatch',
    )
    .requiredOption(
      '--capacity <THOUSANDS>',
      'Enqueued tokens that its batches may hold, in thousands',
      wholeNumber,
    )
    .action(run(on<DeploymentFlags>((module, name, flags) => module.createDeployment(name, flags))));
  const update = inResource(
    named(control(deployments, 'update', 'Change a deployment; whatever no flag names stays as it is')),
  );
  withDeployment(update.option('--model <MODEL>', 'Model of the catalog'))
    .option('--no-dynamic-quota', 'Never go beyond its own limit')
    .option('--sku <SKU>', 'Another SKU')
    .option('--capacity <THOUSANDS>', 'Enqueued tokens that its batches may hold, in thousands', wholeNumber)
    .action(run(on<DeploymentFlags>((module, name, flags) => module.updateDeployment(name, flags))));
  inResource(named(control(deployments, 'delete', 'Delete a deployment'))).action(
    run(on<InResourceFlags>((module, name, flags) => module.deleteDeployment(name, flags))),
  );
}

const inResource = (command: Command): Command =>
  command.option('--resource <NAME>', 'Resource that it belongs to', DEFAULT_RESOURCE_ID);

const withDeployment = (command: Command): Command =>
  command
    .option('--version <VERSION>', "Version of the model; by default the catalog's default one")
    .option('--dynamic-quota', 'Go beyond its limit while the quota is idle')
    .option(
      '--queue <wait|fail>',
      'Batches that find no room wait, or fail, unless they say otherwise',
      waitOrFail,
    )
    .option('--concurrency <N>', 'At most so many requests in flight', wholeNumber)
    .option('--content-filter <NAME>', 'Name of a content filter')
    .option(
      '--version-upgrade <OPTION>',
      'OnceNewDefaultVersionAvailable, OnceCurrentVersionExpired or NoAutoUpgrade',
    )
    .option(
      '--upstream <NAME>',
      'Use only this upstream; may be repeated; `all` allows every one again',
      collect,
    );

const named = (command: Command): Command => command.argument('<name>');

const control = (parent: Command, name: string, description: string): Command =>
  parent
    .command(name)
    .description(description)
    .option('--endpoint <URL>', 'Service to call; see below')
    .option('--admin-key <KEY>', 'Key of the control plane')
    .addOption(
      new Option('--subscription <ID>', 'Subscription')
        .env(envName('subscription'))
        .argParser(nonEmpty)
        .default(OPTIONS.subscription.default, OPTIONS.subscription.default),
    )
    .option('--resource-group <NAME>', `Resource group; by default ${DEFAULT_RESOURCE_GROUP}`, nonEmpty)
    .option('--json', 'Print what the service answers as JSON')
    .addHelpText('after', () => helpText(ENDPOINT));

const ENDPOINT = `${FIRST_ENDPOINTS}
  4. http://127.0.0.1:8080, or the port of OFFPEAK_PORT

The key is the first of these. Variables of cloud services are never used.
  1. --admin-key
  2. OFFPEAK_ADMIN_KEY: the service made this key at its first start
  3. OFFPEAK_TOKEN: a token of your identity provider`;

function nonEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('Expected a name.');
  return text;
}
