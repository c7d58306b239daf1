import { expect, test } from 'vitest';
import { startEntra } from '../support/entra.ts';
import { type Ended, Place, type Server, words } from './offpeak.ts';

const ADMIN_KEY = 'admin-0123456789abcdef0123456789abcdef';

const place = new Place();
let server: Server;

type Cli = (...args: string[]) => Promise<Ended>;

/** Starts a service, and returns the command line of its operator. */
async function startService(args: readonly string[], env: Record<string, string> = {}): Promise<Cli> {
  server = await place.serve(['--admin-key', ADMIN_KEY, ...args], { env });
  const own = { OFFPEAK_ENDPOINT: server.url, OFFPEAK_ADMIN_KEY: ADMIN_KEY, ...env };
  return (...command) => place.offpeak(command, { env: own });
}

const json = <T>({ stdout }: Ended): T => JSON.parse(stdout) as T;

/** A request of about so many tokens to the deployment `nightly`. */
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
  const upstream = await place.ledger({ script: { down: true } });
  const cli = await startService(['--upstream', upstream.url, '--deployment', 'llama']);
  await place.write('in.jsonl', requestOf(600));

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
  const foreign = await cli('batches', 'get', first.stdout.trim(), '--api-key', server.key);
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
  await place.write('in.jsonl', requestOf(10));

  const models = await cli('models');
  const deployed = await cli('deployments', 'create', 'nightly', '--model', 'gpt-4o', '--capacity', '50');
  const ran = await cli('batches', 'create', '--file', 'in.jsonl', '--watch', '--api-key', server.key);
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

test('the first start shows the admin key, which later starts accept and do not show', async () => {
  const first = await place.serve();
  await first.stop();
  const second = await place.serve();
  const env = { OFFPEAK_ENDPOINT: second.url, OFFPEAK_ADMIN_KEY: first.adminKey };

  const listed = await place.offpeak(['resources', 'list'], { env });

  expect(first.adminKey).toMatch(/^\S{32,}$/);
  expect(first.adminKey).not.toBe(first.key);
  expect(second.adminKey).toBe('');
  expect(listed).toMatchObject({ code: 0 });
});

test('a refusal is printed in the words of the service, and the key of a resource does not open the control plane', async () => {
  const cli = await startService(['--offer', 'msdn']);
  const create = (...flags: string[]) =>
    cli('deployments', 'create', 'nightly', '--capacity', '50', ...flags);

  const near = await cli('resources', 'create', 'team-b', '--json');
  const owned = await cli('deployments', 'delete', 'gpt-4o-batch-deployment');
  const unknown = await create('--model', 'gpt-9');
  const tooMuch = await create('--model', 'gpt-4o-mini', '--capacity', '500');
  const wrongKey = await cli('quota', '--admin-key', server.key);
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

test('the control plane is used over TLS, and a certificate that is not trusted is refused with a hint', async () => {
  const cli = await startService(['--tls-self-signed']);

  const distrusted = await cli('resources', 'list');
  const trusted = await place.offpeak(['resources', 'list'], {
    env: {
      OFFPEAK_ENDPOINT: server.url,
      OFFPEAK_ADMIN_KEY: ADMIN_KEY,
      NODE_EXTRA_CA_CERTS: server.certPath,
    },
  });

  expect(distrusted).toMatchObject({ code: 3 });
  expect(distrusted.stderr).toContain('NODE_EXTRA_CA_CERTS=');
  expect(trusted).toMatchObject({ code: 0 });
  expect(trusted.stdout).toMatch(/^default +koreacentral +enterprise +keys and tokens +https:/m);
});

/** Tokens of any OIDC issuer are accepted. */
const OTHER_ISSUER = 'https://issuer.example/realms/ai';

test('a token opens what its roles allow, on both planes, of its resource alone', async () => {
  const issuer = await startEntra();
  place.atEnd(() => issuer.close());
  await place.write(
    'offpeak.yaml',
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
  await place.write('in.jsonl', requestOf(10));
  const admin = await startService([]);
  const claims = { iss: OTHER_ISSUER, tid: undefined, aud: 'offpeak', oid: 'alice', groups: ['team-a'] };
  const token = await issuer.token(claims);
  const env = { OFFPEAK_ENDPOINT: server.url, OFFPEAK_TOKEN: token };
  const alice: Cli = (...command) => place.offpeak(command, { env });

  const ran = await alice('batches', 'create', '--resource', 'team-a', '--file', 'in.jsonl', '--watch');
  const listed = await alice('deployments', 'list', '--resource', 'team-a');
  const elsewhere = await alice('batches', 'list');
  const keys = await alice('resources', 'keys', 'team-a');
  const made = await admin('resources', 'keys', 'team-a', '--json');
  const { key1 } = json<{ key1: string }>(made);
  const keyed = await admin(...words`batches list --resource team-a --api-key ${key1}`);

  expect(ran).toMatchObject({ code: 0 });
  expect(listed.stdout).toMatch(/^nightly +gpt-4o /m);
  expect(elsewhere).toMatchObject({ code: 1 });
  expect(elsewhere.stderr).toContain('lacks the required data action');
  expect(keys).toMatchObject({ code: 1 });
  expect(keys.stderr).toContain('answered 403');
  expect(keyed).toMatchObject({ code: 1 });
  expect(keyed.stderr).toContain('Key based authentication is disabled');
});
