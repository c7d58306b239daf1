import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadConfig, type Loaded, type Sources } from './load.ts';

let cwd: string;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), 'offpeak-config-'));
});
afterEach(() => rm(cwd, { recursive: true }));

async function load(file: string | null, sources: Partial<Sources> = {}): Promise<Loaded> {
  if (file !== null) await writeFile(join(cwd, 'offpeak.yaml'), file);
  return loadConfig({ command: 'serve', flags: {}, env: {}, cwd, ...sources });
}

async function values(file: string | null, sources: Partial<Sources> = {}) {
  const loaded = await load(file, sources);
  if (!loaded.ok) throw new Error(faultsOf(loaded).join('\n'));
  return loaded.values;
}

const faultsOf = (loaded: Loaded): string[] =>
  loaded.ok ? [] : loaded.faults.map(({ source, message }) => `${source}: ${message}`);

describe('variables', () => {
  test('each variable of the file that is not set is exactly one fault', async () => {
    const file = `apiKey: \${NOPE}
adminKey: \${NOPE}
port: \${NO_PORT}
resources:
  - name: team-a
    keys: ['\${NOPE}', '\${NO_KEY}']
upstreams:
  - { name: one, url: '\${NO_URL}' }
`;

    expect(faultsOf(await load(file))).toEqual([
      'offpeak.yaml:1: the variable NOPE is not set',
      'offpeak.yaml:2: the variable NOPE is not set',
      'offpeak.yaml:3: the variable NO_PORT is not set',
      'offpeak.yaml:6: the variable NOPE is not set',
      'offpeak.yaml:6: the variable NO_KEY is not set',
      'offpeak.yaml:8: the variable NO_URL is not set',
    ]);
  });

  test('variables that Kubernetes sets for a Service named offpeak are ignored, and a typo is still a fault', async () => {
    const env = {
      OFFPEAK_PORT: 'tcp://10.0.171.239:8080',
      OFFPEAK_PORT_8080_TCP: 'tcp://10.0.171.239:8080',
      OFFPEAK_PORT_8080_TCP_ADDR: '10.0.171.239',
      OFFPEAK_PORT_8080_TCP_PORT: '8080',
      OFFPEAK_PORT_8080_TCP_PROTO: 'tcp',
      OFFPEAK_SERVICE_HOST: '10.0.171.239',
      OFFPEAK_SERVICE_PORT: '8080',
      OFFPEAK_SERVICE_PORT_HTTP: '8080',
      OFFPEAK_HOST_SERVICE_HOST: '10.0.171.240',
      OFFPEAK_HOST_PORT: 'tcp://10.0.171.240:80',
    };

    expect(await values(null, { env })).toMatchObject({ port: 8080, host: '127.0.0.1' });
    expect(await values(null, { env, flags: { port: '9000' } })).toMatchObject({ port: 9000 });
    expect(faultsOf(await load(null, { env: { ...env, OFFPEAK_PROT: '9000' } }))).toEqual([
      "OFFPEAK_PROT: unknown variable. Did you mean 'OFFPEAK_PORT'?",
    ]);
    expect(faultsOf(await load(null, { env: { OFFPEAK_PORT: 'tcp' } }))).toHaveLength(1);
  });
});

describe('precedence', () => {
  test('with nothing set every option has its default', async () => {
    const loaded = await load(null);

    expect(loaded).toMatchObject({
      ok: true,
      values: { host: '127.0.0.1', port: 8080, upstream: null, concurrencyMax: 32, retriesMax: 5 },
    });
    expect(loaded.ok && loaded.given.size).toBe(0);
  });

  test('a flag goes before a variable, a variable before the file, the file before the default', async () => {
    const file = 'host: file\nport: 1\nlocation: file\n';
    const env = { OFFPEAK_HOST: 'variable', OFFPEAK_PORT: '2' };

    expect(await values(file, { flags: { port: '3' }, env })).toMatchObject({
      port: 3,
      host: 'variable',
      location: 'file',
      logLevel: 'info',
    });
  });

  test('an empty variable counts as not set', async () => {
    expect(await values('port: 1', { env: { OFFPEAK_PORT: '' } })).toMatchObject({ port: 1 });
  });

  test('run reads neither the file nor options of serve', async () => {
    const env = { OFFPEAK_PORT: 'abc', OFFPEAK_CONCURRENCY: '7' };

    expect(await values('port: abc', { command: 'run', env })).toMatchObject({
      concurrencyMax: 7,
      port: 8080,
    });
  });
});

describe('values', () => {
  test.each([
    ['requestTimeout: 30s', { requestTimeoutMs: 30_000 }],
    ['requestTimeout: 90', { requestTimeoutMs: 90_000 }],
    ['requestTimeout: 1.5m', { requestTimeoutMs: 90_000 }],
    ['diskReserve: 1GiB', { diskReserveBytes: 2 ** 30 }],
    ['enqueuedTokens: 200M', { enqueuedTokensMax: 200_000_000 }],
    ['enqueuedTokens: 5_000', { enqueuedTokensMax: 5_000 }],
    ['strictWindow: true', { strictWindow: true }],
    ['apiKey: 0012', { apiKey: '0012' }],
    ['upstream: simulator', { upstream: { kind: 'simulator' } }],
    ['importHosts: [a.example, b.example]', { importHosts: ['a.example', 'b.example'] }],
    ['simulator:\n  latency: 200ms\n  errorRate: 0.1', { simulatorLatencyMs: 200, simulatorErrorRate: 0.1 }],
  ])('%s', async (file, expected) => {
    expect(await values(file)).toMatchObject(expected);
  });

  test('a variable holds several deployments, separated by commas', async () => {
    const { deployments } = await values(null, { env: { OFFPEAK_DEPLOYMENT: 'a=x, b' } });

    expect(deployments).toEqual([{ name: 'a', model: 'x' }, { name: 'b' }]);
  });

  test('${NAME} in the file stands for a variable', async () => {
    expect(await values('apiKey: ${KEY}-1', { env: { KEY: 'k' } })).toMatchObject({ apiKey: 'k-1' });
  });
});

describe('faults', () => {
  test('all of them come at once, each with its flag, variable or line', async () => {
    const file = `port: abc
hosst: x
simulator:
  latncy: 3
  errorRate: 2
deployments:
  - a=b
  - a
  - modle: gpt
  - name: c
    upstreams:
      - url: http://user:word@host/
        apiKey: \${NOPE}
        modl: 3
`;

    const loaded = await load(file, {
      flags: { port: '99999' },
      env: { OFFPEAK_UPSTRAEM: 'x', OFFPEAK_LOG_LEVEL: 'loud' },
    });

    expect(faultsOf(loaded)).toEqual([
      "OFFPEAK_UPSTRAEM: unknown variable. Did you mean 'OFFPEAK_UPSTREAM'?",
      '--port: expected a port number, 0 to 65535, got "99999"',
      'OFFPEAK_LOG_LEVEL: expected one of debug, info, warn, error, silent, got "loud"',
      'offpeak.yaml:1: port: expected a port number, 0 to 65535, got "abc"',
      "offpeak.yaml:2: unknown key 'hosst'. Did you mean 'host'?",
      "offpeak.yaml:4: unknown key 'latncy'. Did you mean 'latency'?",
      'offpeak.yaml:5: simulator.errorRate: expected a number from 0 to 1, got "2"',
      'offpeak.yaml:9: deployments: name: expected some text',
      "offpeak.yaml:9: deployments: unknown key 'modle'. Did you mean 'model'?",
      'offpeak.yaml:12: deployments: url: expected simulator, or a URL like http://127.0.0.1:8000/v1 without user, password, query or #',
      'offpeak.yaml:13: the variable NOPE is not set',
      "offpeak.yaml:14: deployments: unknown key 'modl'. Did you mean 'model'?",
    ]);
  });

  test('a deployment that is given twice is reported at its second place', async () => {
    expect(faultsOf(await load('deployments:\n  - a=x\n  - b\n  - name: a\n'))).toEqual([
      "offpeak.yaml:4: deployment 'a' is given twice. Keep one.",
    ]);
  });

  test('every syntax error of the file has its line', async () => {
    const faults = faultsOf(await load('port: 1\nport: 2\nhost: [a\n'));

    expect(faults[0]).toMatch(/^offpeak\.yaml:2: not valid YAML: Map keys must be unique/);
    expect(faults.length).toBeGreaterThan(1);
  });

  test('a file that is a list, or a scalar, is refused', async () => {
    expect(faultsOf(await load('- a\n'))).toEqual(['offpeak.yaml:1: expected `key: value` lines']);
  });

  test('a file that was asked for must exist', async () => {
    expect(faultsOf(await load(null, { flags: { configPath: 'other.yaml' } }))).toEqual([
      'other.yaml: there is no such file',
    ]);
  });

  test('an upstream without a deployment says what to add', async () => {
    const faults = faultsOf(await load(null, { flags: { upstream: 'http://127.0.0.1:8000/v1' } }));

    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(
      /^--upstream: http:\/\/127\.0\.0\.1:8000\/v1 has no deployment.*--deployment NAME=MODEL/,
    );
  });

  test.each([
    ['apiKey', 'canary word'],
    ['upstreamApiKey', 'canary\tword'],
    ['database', 'mysql://u:canary@h/db'],
    ['upstream', 'http://u:canary@h/v1'],
  ] as const)('a bad %s is not repeated', async (name, value) => {
    const faults = faultsOf(await load(null, { flags: { [name]: value } }));

    expect(faults).toHaveLength(1);
    expect(faults.join()).not.toContain('canary');
  });

  test('variables of other programs that begin alike are ignored', async () => {
    const env = { OFFPEAK_SERVICE_HOST: '10.0.0.1', OFFPEAK_PORT_8080_TCP_ADDR: '10.0.0.1' };

    expect(faultsOf(await load(null, { env }))).toEqual([]);
  });
});
