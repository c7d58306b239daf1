import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_RESOURCE_GROUP } from '../../config/config.ts';
import { envName, OPTIONS } from '../../config/options.ts';
import { DEFAULT_RESOURCE_ID } from '../../contract/scope.ts';
import type { ControlCommandFlags, LocationFlags } from '../client/control-client.ts';
import type { AuditFlags } from '../commands/audit.ts';
import type { DeploymentFlags, InResourceFlags } from '../commands/deployments.ts';
import type { KeysFlags, ResourceFlags } from '../commands/resources.ts';
import { helpText } from '../terminal/print.ts';
import { collect, onNamed, type Run, waitOrFail, wholeNumber } from './flags.ts';

/** Adds the commands of the control plane. Each is an HTTP client of a running service. */
export function addControl(program: Command, run: Run): void {
  addResources(program.command('resources').description('Resources (tenants) of a running service'), run);
  addDeployments(program.command('deployments').description('Deployments of a resource'), run);
  control(program, 'models', 'Show what can be deployed where, and how much quota is left')
    .option(
      '--location <REGION>',
      'only this region; by default every region with resources of the subscription',
    )
    .action(run(async (flags: LocationFlags) => (await import('../commands/models.ts')).listModels(flags)));
  control(program, 'quota', 'Show how much of each quota is allocated and held, by model and SKU')
    .option(
      '--location <REGION>',
      'only this region; by default every region with resources of the subscription',
    )
    .action(run(async (flags: LocationFlags) => (await import('../commands/quota.ts')).showQuota(flags)));
  control(program, 'audit', 'Show who changed what, newest first')
    .option('--resource <NAME>', 'only changes of this resource')
    .option('--limit <N>', 'print at most so many', wholeNumber, 20)
    .option('--before <NUMBER>', 'print entries older than this one', wholeNumber)
    .action(run(async (flags: AuditFlags) => (await import('../commands/audit.ts')).showAudit(flags)));
}

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
    .option('--location <REGION>', 'region; by default that of the default resource')
    .action(run(on<ResourceFlags>((module, name, flags) => module.createResource(name, flags))));
  withResource(named(control(resources, 'update', 'Change a resource')))
    .option('--enable-key-auth', 'accept its keys again')
    .action(run(on<ResourceFlags>((module, name, flags) => module.updateResource(name, flags))));
  named(control(resources, 'delete', 'Delete a resource with its deployments, files and keys; asks first'))
    .option('--yes', 'do not ask')
    .action(
      run(
        on<ControlCommandFlags & { yes?: boolean }>((module, name, flags) =>
          module.deleteResource(name, flags),
        ),
      ),
    );
  named(control(resources, 'keys', 'Make and show the keys that are missing, or replace one'))
    .option('--regenerate <1|2>', 'replace this key; the old one is refused from then on')
    .action(run(on<KeysFlags>((module, name, flags) => module.resourceKeys(name, flags))));
}

const withResource = (command: Command): Command =>
  command
    .option(
      '--offer <OFFER>',
      'subscription offer, which decides the quota: enterprise, default, monthly, msdn, students, unlimited',
    )
    .option('--disable-key-auth', 'accept tokens only, no keys')
    .option('--tag <NAME=VALUE>', 'tag of the resource; may be repeated', collect);

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
  create.requiredOption('--model <MODEL>', 'model of the catalog; `offpeak models` lists it');
  withDeployment(create)
    .option(
      '--sku <SKU>',
      'GlobalBatch, DataZoneBatch; for online use GlobalStandard, DataZoneStandard, Standard',
      'GlobalBatch',
    )
    .requiredOption(
      '--capacity <THOUSANDS>',
      'enqueued tokens that its batches may hold, in thousands',
      wholeNumber,
    )
    .action(run(on<DeploymentFlags>((module, name, flags) => module.createDeployment(name, flags))));
  const update = inResource(
    named(control(deployments, 'update', 'Change a deployment; whatever no flag names stays as it is')),
  );
  withDeployment(update.option('--model <MODEL>', 'model of the catalog'))
    .option('--no-dynamic-quota', 'never go beyond its own limit')
    .option('--sku <SKU>', 'another SKU')
    .option('--capacity <THOUSANDS>', 'enqueued tokens that its batches may hold, in thousands', wholeNumber)
    .action(run(on<DeploymentFlags>((module, name, flags) => module.updateDeployment(name, flags))));
  inResource(named(control(deployments, 'delete', 'Delete a deployment'))).action(
    run(on<InResourceFlags>((module, name, flags) => module.deleteDeployment(name, flags))),
  );
}

const inResource = (command: Command): Command =>
  command.option('--resource <NAME>', 'resource that it belongs to', DEFAULT_RESOURCE_ID);

const withDeployment = (command: Command): Command =>
  command
    .option('--version <VERSION>', "version of the model; by default the catalog's default one")
    .option('--dynamic-quota', 'go beyond its limit while the quota is idle')
    .option(
      '--queue <wait|fail>',
      'batches that find no room wait, or fail, unless they say otherwise',
      waitOrFail,
    )
    .option('--concurrency <N>', 'at most so many requests in flight', wholeNumber)
    .option('--content-filter <NAME>', 'name of a content filter')
    .option(
      '--version-upgrade <OPTION>',
      'OnceNewDefaultVersionAvailable, OnceCurrentVersionExpired or NoAutoUpgrade',
    )
    .option(
      '--upstream <NAME>',
      'use only this upstream; may be repeated; `all` allows every one again',
      collect,
    );

const named = (command: Command): Command => command.argument('<name>');

const control = (parent: Command, name: string, description: string): Command =>
  parent
    .command(name)
    .description(description)
    .option('--endpoint <URL>', 'service to call; see below')
    .option('--admin-key <KEY>', 'key of the control plane')
    .addOption(
      new Option('--subscription <ID>', 'subscription')
        .env(envName('subscription'))
        .argParser(nonEmpty)
        .default(OPTIONS.subscription.default),
    )
    .option('--resource-group <NAME>', `resource group; by default ${DEFAULT_RESOURCE_GROUP}`, nonEmpty)
    .option('--json', 'print what the service answers as JSON')
    .addHelpText('after', () => helpText(ENDPOINT));

const ENDPOINT = `
The service is the first of these that there is: --endpoint; OFFPEAK_ENDPOINT; the service that runs over the data \
directory here; http://127.0.0.1:8080. The key is the first of these: --admin-key; OFFPEAK_ADMIN_KEY, which the service \
made at its first start; OFFPEAK_TOKEN, a token of your identity provider. Variables of cloud services are never used.`;

function nonEmpty(text: string): string {
  if (text === '') throw new InvalidArgumentError('Expected a name.');
  return text;
}
