import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startEntra, type Entra } from '../support/entra.ts';
import { startLedgerUpstream, type LedgerUpstream } from '../support/ledger-upstream.ts';
import { offpeak, scratch, serve, type Ended, type Server } from './offpeak.ts';

const ADMIN_KEY = 'admin-0123456789abcdef0123456789abcdef';

let place: Awaited<ReturnType<typeof scratch>>;
let server: Server | undefined;
let upstream: LedgerUpstream | undefined;
let issuer: Entra | undefined;
beforeEach(async () => {
  place = await scratch();
});
afterEach(async () => {
  server?.child.kill('SIGKILL');
  await server?.ended;
  server = undefined;
  await upstream?.stop();
  upstream = undefined;
  await issuer?.close();
  issuer = undefined;
  await place.remove();
});

type Cli = (...args: string[]) => Promise<Ended>;

/** A service, and its command line as the operator has it. */
async function startService(args: readonly string[], env: Record<string, string> = {}): Promise<Cli> {
  const started = await serve(['--admin-key', ADMIN_KEY, ...args], { cwd: place.dir, env });
  server = started;
  const own = { OFFPEAK_ENDPOINT: started.url, OFFPEAK_ADMIN_KEY: ADMIN_KEY, ...env };
  return (...command) => offpeak(command, { cwd: place.dir, env: own });
}

const json = <T>({ stdout }: Ended): T => JSON.parse(stdout) as T;

/** One request of about so many tokens for the deployment `nightly`. */
const requestOf = (tokens: number): string =>
  `${JSON.stringify({
    custom_id: 'a',
    method: 'POST',
    url: '/chat/completions',
    body: { model: 'nightly', messages: [{ role: 'user', content: 'word '.repeat(tokens) }] },
  })}\n`;

interface RemoteQuota {
  readonly name: { readonly value: string };
  readonly offpeak: { readonly allocated_tokens: number; readonly held_tokens: number };
}

test('a team gets a resource, keys and a deployment, runs a batch, and another one when there is room', async () => {
  upstream = await startLedgerUpstream({ script: { down: true } });
  const cli = await startService(['--upstream', upstream.url, '--deployment', 'llama']);
  await writeFile(join(place.dir, 'in.jsonl'), requestOf(600));

  const created = await cli('resources', 'create', 'team-a', '--location', 'swedencentral', '--json');
  const keys = json<{ key1: string; key2: string }>(await cli('resources', 'keys', 'team-a', '--json'));
  const again = await cli('resources', 'keys', 'team-a');
  const gpt4o = ['--model', 'gpt-4o', '--capacity', '1'];
  const deployed = await cli('deployments', 'create', 'nightly', '--resource', 'team-a', ...gpt4o);
  const asTeam: Cli = (...args) => cli(...args, '--resource', 'team-a', '--api-key', keys.key1);

  expect(json(created)).toMatchObject({ name: 'team-a', location: 'swedencentral' });
  expect(keys.key1).toMatch(/^\S{32,}$/);
  expect(again.stdout).toContain(`key1  …${keys.key1.slice(-4)} (was shown before)`);
  expect(deployed.stdout).toMatch(/^sku +GlobalBatch$/m);
  expect(deployed.stdout).toMatch(/^enqueued tokens +0 held of 1K$/m);

  const first = await asTeam('batches', 'create', '--file', 'in.jsonl');
  const refused = await asTeam('batches', 'create', '--file', 'in.jsonl');
  const second = await asTeam('batches', 'create', '--file', 'in.jsonl', '--queue', 'wait');
  const waiting = await asTeam('batches', 'get', second.stdout.trim());
  const shown = await cli('deployments', 'show', 'nightly', '--resource', 'team-a');
  const { data: quota } = json<{ data: RemoteQuota[] }>(
    await cli('quota', '--location', 'swedencentral', '--json'),
  );

  expect(first.code).toBe(0);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toContain('token_limit_exceeded');
  expect(waiting.stdout).toMatch(/^status +validating$/m);
  expect(waiting.stdout).toMatch(/^queue +place 1 of 1; needs \d+ tokens$/m);
  expect(waiting.stdout).toMatch(/^waiting +Waits for room: /m);
  expect(shown.stdout).toMatch(/^enqueued tokens +\d+ held of 1K, \d+ more wanted by 1 waiting batch$/m);
  const held = quota.find(({ name }) => name.value === 'OpenAI.GlobalBatch.gpt-4o')?.offpeak;
  expect(held).toMatchObject({ allocated_tokens: 1_000 });
  expect(held?.held_tokens).toBeGreaterThan(500);

  await upstream.script({ down: false });
  const ends = [
    await asTeam('batches', 'watch', first.stdout.trim()),
    await asTeam('batches', 'watch', second.stdout.trim()),
  ];
  const foreign = await cli('batches', 'get', first.stdout.trim(), '--api-key', server?.key ?? '');
  const renewed = await cli('resources', 'keys', 'team-a', '--regenerate', '1');
  const late = await asTeam('batches', 'list');
  const audit = await cli('audit', '--resource', 'team-a');

  expect(ends.map(({ code }) => code)).toEqual([0, 0]);
  expect(foreign.code).toBe(1);
  expect(foreign.stderr).toContain('answered 404');
  expect(renewed.stdout).not.toContain(keys.key1);
  expect(late).toMatchObject({ code: 1 });
  expect(late.stderr).toContain('answered 401');
  for (const action of ['resource.create', 'key.create', 'deployment.create', 'key.regenerate'])
    expect(audit.stdout).toContain(action);
  expect(audit.stdout).not.toContain(keys.key1);
});

test('a new service has room for deployments beside the one that it starts with', async () => {
  const cli = await startService([]);
  await writeFile(join(place.dir, 'in.jsonl'), requestOf(10));

  const models = await cli('models');
  const deployed = await cli('deployments', 'create', 'nightly', '--model', 'gpt-4o', '--capacity', '50');
  const ran = await cli('batches', 'create', '--file', 'in.jsonl', '--watch', '--api-key', server?.key ?? '');
  const listed = await cli('deployments', 'list');
  const removed = await cli('deployments', 'delete', 'nightly');
  const missing = await cli('deployments', 'delete', 'nightly');

  expect(models.stdout).toMatch(/^koreacentral +gpt-4o +2024-08-06/m);
  expect(deployed).toMatchObject({ code: 0 });
  expect(ran).toMatchObject({ code: 0 });
  expect(listed.stdout).toMatch(/^nightly +gpt-4o \S+ +GlobalBatch +50K +0 /m);
  expect(removed).toMatchObject({ code: 0, stdout: 'nightly  deleted\n' });
  expect(missing).toMatchObject({ code: 1 });
  expect(missing.stderr).toContain("There is no deployment 'nightly' in resource 'default'");
});

test('the first start shows the admin key; the next ones know it and do not show it', async () => {
  const first = await serve([], { cwd: place.dir });
  first.child.kill('SIGTERM');
  await first.ended;
  server = await serve([], { cwd: place.dir });
  const env = { OFFPEAK_ENDPOINT: server.url, OFFPEAK_ADMIN_KEY: first.adminKey };

  const listed = await offpeak(['resources', 'list'], { cwd: place.dir, env });

  expect(first.adminKey).toMatch(/^\S{32,}$/);
  expect(first.adminKey).not.toBe(first.key);
  expect(server.adminKey).toBe('');
  expect(listed).toMatchObject({ code: 0 });
});

test('what the service refuses is told in its words, and the key of a resource opens no control plane', async () => {
  const cli = await startService(['--offer', 'msdn']);
  const create = (...flags: string[]) =>
    cli('deployments', 'create', 'nightly', '--capacity', '50', ...flags);

  const near = await cli('resources', 'create', 'team-b', '--json');
  const owned = await cli('deployments', 'delete', 'gpt-4o-batch-deployment');
  const unknown = await create('--model', 'gpt-9');
  const tooMuch = await create('--model', 'gpt-4o-mini', '--capacity', '500');
  const wrongKey = await cli('quota', '--admin-key', server?.key ?? '');
  const misused = await create('--model', 'gpt-4o', '--sku', 'Bulk');

  expect(json(near)).toMatchObject({ name: 'team-b', location: 'koreacentral' });
  expect(owned).toMatchObject({ code: 1 });
  expect(owned.stderr).toContain('OwnedByConfiguration');
  expect(unknown).toMatchObject({ code: 1 });
  expect(unknown.stderr).toContain('gpt-9');
  expect(tooMuch).toMatchObject({ code: 1 });
  expect(tooMuch.stderr).toContain('InsufficientQuota');
  expect(wrongKey).toMatchObject({ code: 1 });
  expect(wrongKey.stderr).toContain('Check the admin key, --admin-key or OFFPEAK_ADMIN_KEY');
  expect(misused).toMatchObject({ code: 2 });
});

test('over TLS with the certificate that the service made, and a hint when that is not trusted', async () => {
  const cli = await startService(['--tls-self-signed']);

  const distrusted = await cli('resources', 'list');
  const trusted = await offpeak(['resources', 'list'], {
    cwd: place.dir,
    env: {
      OFFPEAK_ENDPOINT: server?.url ?? '',
      OFFPEAK_ADMIN_KEY: ADMIN_KEY,
      NODE_EXTRA_CA_CERTS: server?.certPath ?? '',
    },
  });

  expect(distrusted).toMatchObject({ code: 3 });
  expect(distrusted.stderr).toContain('NODE_EXTRA_CA_CERTS=');
  expect(trusted).toMatchObject({ code: 0 });
  expect(trusted.stdout).toMatch(/^default +koreacentral +enterprise +keys and tokens +https:/m);
});

/** Any OIDC issuer's tokens do. */
const OTHER_ISSUER = 'https://issuer.example/realms/ai';

test('a token opens what its roles allow, on both planes, of its resource alone', async () => {
  issuer = await startEntra();
  await writeFile(
    join(place.dir, 'offpeak.yaml'),
    `identity:
  issuers: [${OTHER_ISSUER}]
  audiences: [offpeak]
  jwksUri: ${issuer.config.jwksUri}
roleAssignments:
  - { role: Cognitive Services OpenAI Contributor, group: team-a, resource: team-a }
resources:
  - name: team-a
    disableKeyAuth: true
    deployments:
      - { name: nightly, model: gpt-4o }
`,
  );
  await writeFile(join(place.dir, 'in.jsonl'), requestOf(10));
  const admin = await startService([]);
  const claims = { iss: OTHER_ISSUER, tid: undefined, aud: 'offpeak', oid: 'alice', groups: ['team-a'] };
  const token = await issuer.token(claims);
  const env = { OFFPEAK_ENDPOINT: server?.url ?? '', OFFPEAK_TOKEN: token };
  const alice: Cli = (...command) => offpeak(command, { cwd: place.dir, env });

  const ran = await alice('batches', 'create', '--resource', 'team-a', '--file', 'in.jsonl', '--watch');
  const listed = await alice('deployments', 'list', '--resource', 'team-a');
  const elsewhere = await alice('batches', 'list');
  const keys = await alice('resources', 'keys', 'team-a');
  const made = await admin('resources', 'keys', 'team-a', '--json');
  const keyed = await admin(
    'batches',
    'list',
    '--resource',
    'team-a',
    '--api-key',
    json<{ key1: string }>(made).key1,
  );

  expect(ran).toMatchObject({ code: 0 });
  expect(listed.stdout).toMatch(/^nightly +gpt-4o /m);
  expect(elsewhere).toMatchObject({ code: 1 });
  expect(elsewhere.stderr).toContain('lacks the required data action');
  expect(keys).toMatchObject({ code: 1 });
  expect(keys.stderr).toContain('answered 403');
  expect(keyed).toMatchObject({ code: 1 });
  expect(keyed.stderr).toContain('Key based authentication is disabled');
});
