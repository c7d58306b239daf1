import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WireError } from '../../src/contract/wire.ts';
import { BlobStoreError } from '../../src/stores/blobs/port.ts';
import { StoreError } from '../../src/stores/state/ports.ts';
import { batchOn, form, lines, startService, type Service } from './harness.ts';

let service: Service;
let fileId: string;
beforeAll(async () => {
  service = await startService();
  fileId = await service.upload(lines(1));
});
afterAll(() => service.close());

const NOWHERE = `file-${'0'.repeat(32)}`;
const good = batchOn(NOWHERE);
const create = (body: unknown) => raw(JSON.stringify(body));
const raw = (body: string, type = 'application/json'): [string, RequestInit] => [
  '/batches',
  { method: 'POST', headers: { 'content-type': type }, body },
];
const without = (key: keyof typeof good): object => {
  const { [key]: _, ...rest } = good;
  return rest;
};

type Case = readonly [
  name: string,
  call: [string, RequestInit],
  status: number,
  azure: string,
  openai: string | null,
  message: RegExp,
];

const MISSING = [400, 'invalidPayload', 'missing_required_parameter'] as const;
const INVALID_VALUE = [400, 'invalidPayload', 'invalid_value'] as const;
const INVALID_TYPE = [400, 'invalidPayload', 'invalid_type'] as const;
const NOT_FOUND = [404, 'notFound', null] as const;
const UNSUPPORTED = [415, 'invalidPayload', 'unsupported_content_type'] as const;

const CASES: Case[] = [
  [
    'a path that does not exist',
    ['/nothing', {}],
    404,
    '404',
    null,
    /^(Resource not found|Invalid URL \(GET \/v1\/nothing\))$/,
  ],
  [
    'a method that a path does not have',
    ['/batches', { method: 'PUT' }],
    405,
    '405',
    null,
    /^PUT is not allowed on \/\S+\/batches\. Use .*GET/,
  ],
  ['an absent batch', ['/batches/batch_x', {}], ...NOT_FOUND, /'batch_x'/],
  ['cancelling an absent batch', ['/batches/batch_x/cancel', { method: 'POST' }], ...NOT_FOUND, /'batch_x'/],
  ['the output of an absent batch', ['/batches/batch_x/output', {}], ...NOT_FOUND, /'batch_x'/],
  ['an absent file', [`/files/${NOWHERE}`, {}], ...NOT_FOUND, /file-0/],
  ['the content of an absent file', [`/files/${NOWHERE}/content`, {}], ...NOT_FOUND, /file-0/],
  ['deleting an absent file', [`/files/${NOWHERE}`, { method: 'DELETE' }], ...NOT_FOUND, /file-0/],
  [
    'an id with a path in it',
    ['/files/..%2f..%2fetc%2fpasswd/content', {}],
    ...NOT_FOUND,
    /No (file|such File)/,
  ],
  [
    'an id of 10,000 characters',
    [`/files/${'x'.repeat(10_000)}`, {}],
    404,
    '404',
    null,
    /Resource not found/,
  ],
  ['a bad percent-encoding', ['/files/%zz', {}], 400, 'BadRequest', null, /percent-encoding/],
  ['an absent input file', create(good), ...INVALID_VALUE, /file-0.* does not exist/],
  ['no input file', create(without('input_file_id')), ...MISSING, /'input_file_id'/],
  ['no endpoint', create(without('endpoint')), ...MISSING, /'endpoint'/],
  ['no completion window', create(without('completion_window')), ...MISSING, /'completion_window'/],
  [
    'another completion window',
    create({ ...good, completion_window: '1h' }),
    ...INVALID_VALUE,
    /'completion_window': '1h'.*'24h'/,
  ],
  [
    'an unknown endpoint',
    create({ ...good, endpoint: '/v1/images' }),
    ...INVALID_VALUE,
    /'endpoint': '\/v1\/images'.*'\/chat\/completions'/,
  ],
  [
    'an endpoint with v1 twice',
    create({ ...good, endpoint: '/v1/v1/embeddings' }),
    ...INVALID_VALUE,
    /'endpoint'/,
  ],
  [
    'a number for an endpoint',
    create({ ...good, endpoint: 3 }),
    ...INVALID_TYPE,
    /'endpoint': expected a string, but got a number instead/,
  ],
  [
    'Blob input',
    create({ ...good, input_blob: 'https://x/y' }),
    400,
    'invalidPayload',
    null,
    /Blob input .* not available .* yet/,
  ],
  [
    'a Blob folder',
    create({ ...good, output_folder: { url: 'https://x' } }),
    400,
    'invalidPayload',
    null,
    /Blob/,
  ],
  ['metadata that is no object', create({ ...good, metadata: ['a'] }), ...INVALID_TYPE, /'metadata'/],
  [
    'metadata with a list in it',
    create({ ...good, metadata: { x: ['a'] } }),
    ...INVALID_TYPE,
    /^Invalid type for 'metadata\.x': expected a string, but got an array instead\.$/,
  ],
  [
    'too many metadata',
    create({ ...good, metadata: Object.fromEntries(Array.from({ length: 24 }, (_, i) => [`k${i}`, 'v'])) }),
    400,
    'invalidPayload',
    'object_above_max_properties',
    /^Invalid 'metadata': too many properties\. Expected an object with at most 16 properties, but got an object with 24 properties instead\.$/,
  ],
  [
    'a metadata key of 65 characters',
    create({ ...good, metadata: { ['k'.repeat(65)]: 'v' } }),
    ...INVALID_TYPE,
    /too long/,
  ],
  [
    'a metadata value of 513 characters',
    create({ ...good, metadata: { k: 'v'.repeat(513) } }),
    ...INVALID_TYPE,
    /'metadata\.k'.*512/,
  ],
  [
    'an output expiry below the least',
    create({ ...good, output_expires_after: { anchor: 'created_at', seconds: 10 } }),
    ...INVALID_VALUE,
    /'output_expires_after\.seconds'.*2592000/,
  ],
  [
    'an output expiry from another anchor',
    create({ ...good, output_expires_after: { anchor: 'now', seconds: 1_209_600 } }),
    ...INVALID_VALUE,
    /'output_expires_after\.anchor'/,
  ],
  [
    'a body that is not JSON',
    raw('{"input_file_id": '),
    400,
    'BadRequest',
    null,
    /not valid JSON: (?!SyntaxError)/,
  ],
  ['a body that is a list', raw('[]'), ...INVALID_TYPE, /JSON object/],
  ['a body that is null', raw('null'), ...INVALID_TYPE, /JSON object/],
  ['an empty body', raw(''), ...INVALID_TYPE, /JSON object/],
  ['a form for a body', raw('a=b', 'application/x-www-form-urlencoded'), ...UNSUPPORTED, /application\/json/],
  ['a text for a body', raw(JSON.stringify(good), 'text/plain'), ...UNSUPPORTED, /application\/json/],
  ['a nonsense content type', raw('{}', ';;;'), ...UNSUPPORTED, /application\/json/],
  [
    'a body above 1 MiB',
    raw(JSON.stringify({ ...good, metadata: { k: 'v'.repeat(1_048_576) } })),
    413,
    'invalidPayload',
    'request_too_large',
    /larger than this route takes.*POST \/files/,
  ],
  [
    'an upload without multipart',
    ['/files', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }],
    ...UNSUPPORTED,
    /multipart/,
  ],
  ['an upload with nothing', ['/files', { method: 'POST' }], ...UNSUPPORTED, /multipart/],
  ['limit 0', ['/batches?limit=0', {}], ...INVALID_VALUE, /'limit'/],
  ['limit 101', ['/batches?limit=101', {}], ...INVALID_VALUE, /'limit'.*101.*100/],
  ['limit 1.5', ['/batches?limit=1.5', {}], ...INVALID_VALUE, /'limit'/],
  ['a limit in words', ['/batches?limit=ten', {}], ...INVALID_VALUE, /'limit'/],
  ['limit twice', ['/batches?limit=1&limit=2', {}], ...INVALID_TYPE, /'limit'/],
  ['an unknown batch to go on from', ['/batches?after=batch_x', {}], ...INVALID_VALUE, /'after'.*batch_x/],
  ['an unknown file to go on from', ['/files?after=file-x', {}], ...INVALID_VALUE, /'after'.*file-x/],
  ['a bad filter', ["/batches?$filter=status%20is%20'x'", {}], ...INVALID_VALUE, /\$filter: at position 8/],
  ['a bad order', ['/batches?$orderby=id', {}], ...INVALID_VALUE, /\$orderby: at position 1/],
  ['files limit 10,001', ['/files?limit=10001', {}], ...INVALID_VALUE, /'limit'/],
  ['an unknown purpose in a list', ['/files?purpose=fun', {}], ...INVALID_VALUE, /'purpose': 'fun'.*'batch'/],
  ['an unknown order of files', ['/files?order=up', {}], ...INVALID_VALUE, /'order'/],
  ['a negative offset', [`/files/${NOWHERE}/content?offset=-1`, {}], ...INVALID_VALUE, /'offset'/],
  [
    'a completion window nested 100,000 deep',
    raw(`{"endpoint":"/embeddings","completion_window":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
    ...INVALID_VALUE,
    /'completion_window': an array/,
  ],
  [
    'an unknown member nested 100,000 deep',
    [
      '/batches',
      {
        ...raw(
          `{"endpoint":"/embeddings","completion_window":"24h","input_file_id":"f","x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
        )[1],
        headers: { 'content-type': 'application/json; charset=UTF-8', 'idempotency-key': 'deep' },
      },
    ],
    ...INVALID_VALUE,
    /'f' does not exist/,
  ],
  [
    'an import when no host is allowed',
    [
      '/files/import',
      {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          purpose: 'batch',
          filename: 'a.jsonl',
          content_url: 'http://169.254.169.254/',
        }),
      },
    ],
    400,
    'fileImportFailed',
    'file_import_failed',
    /listed no hosts/,
  ],
  [
    'an Idempotency-Key of 256 characters',
    [
      '/batches',
      {
        ...create(good)[1],
        headers: { 'content-type': 'application/json', 'idempotency-key': 'k'.repeat(256) },
      },
    ],
    ...INVALID_VALUE,
    /Idempotency-Key/,
  ],
];

describe.each(['/openai/v1', '/v1'])('on %s', (root) => {
  test.each(CASES)('%s', async (_name, [path, init], status, azure, openai, message) => {
    const answer = await service.json(root + path, init);

    expect(answer.status).toBe(status);
    const { error } = WireError.parse(answer.body);
    expect(error.message).toMatch(message);
    const shape = root === '/v1' ? ['code', 'message', 'param', 'type'] : ['code', 'message'];
    expect(
      Object.keys(error)
        .filter((key) => key !== 'target')
        .toSorted(),
    ).toEqual(shape);
    expect(error.code).toBe(root === '/v1' ? openai : azure);
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.headers.get('content-type')).toContain('application/json');
    expect(JSON.stringify(answer.body)).not.toMatch(
      /\/work|\/tmp|node_modules|\.ts|at \w+ \(|SELECT|sqlite/i,
    );
  });
});

describe('on the classic surface', () => {
  test('a call without an api-version is a 404', async () => {
    const { status, body } = await service.json('/openai/batches');

    expect([status, body]).toEqual([404, { error: { code: '404', message: 'Resource not found' } }]);
  });

  test('an unknown api-version is a 400 that says so', async () => {
    const { status, body } = await service.json('/openai/batches?api-version=2023-05-15');

    expect([status, body.error.code]).toEqual([400, 'BadRequest']);
    expect(body.error.message).toMatch(/^API version not supported/);
  });

  test('an api-version on the v1 path is refused', async () => {
    const { status, body } = await service.json('/openai/v1/batches?api-version=2024-10-21');

    expect([status, body]).toEqual([
      400,
      {
        error: {
          code: 'BadRequest',
          message: 'api-version query parameter is not allowed when using /v1 path',
        },
      },
    ]);
  });
});

describe('when storage fails', () => {
  const failing = async (error: Error, http: Parameters<typeof startService>[0] = {}) => {
    const fatal: unknown[] = [];
    await using broken = await startService({
      ...http,
      wrap: (deps) => ({
        ...deps,
        onFatal: (cause) => fatal.push(cause),
        state: {
          ...deps.state,
          batches: { ...deps.state.batches, get: () => Promise.reject(error) },
        },
        uploader: { ...deps.uploader, uploadFile: () => Promise.reject(error) },
      }),
    });
    const read = await broken.json('/openai/v1/batches/batch_x');
    const upload = await broken.post('/v1/files', form(lines(1)));
    return { read, upload, fatal, logged: broken.logged.join('\n') };
  };

  test('a full disk is a 507 with Retry-After', async () => {
    const { read, upload, fatal } = await failing(new StoreError('/secret/path: no space', 'disk_full'));

    expect([read.status, read.body.error.code, read.headers.get('retry-after')]).toEqual([
      507,
      'serviceUnavailable',
      '30',
    ]);
    expect(read.headers.get('retry-after-ms')).toBe('30000');
    expect([upload.status, upload.body.error.code]).toEqual([507, 'insufficient_storage']);
    expect(JSON.stringify(read.body)).not.toContain('secret');
    expect(fatal).toEqual([]);
  });

  test('a lost connection is a 503 with Retry-After', async () => {
    const { read, fatal } = await failing(new StoreError('lost', 'connection'));

    expect([read.status, read.headers.get('retry-after'), fatal.length]).toEqual([503, '30', 0]);
  });

  test.each([new StoreError('/secret/path', 'io'), new BlobStoreError('/secret/path', 'io')])(
    'a device that fails is a 500, and the process must end',
    async (error) => {
      const { read, fatal } = await failing(error);

      expect([read.status, read.body.error.code]).toEqual([500, 'internalFailure']);
      expect(read.body.error.message).not.toContain('secret');
      expect(fatal).toContain(error);
    },
  );

  test('a bug is a 500 that hides it, and the log has it with the request id', async () => {
    const { read, upload, logged } = await failing(new TypeError('cannot read secret of undefined'));

    expect([read.status, read.body.error.code]).toEqual([500, 'internalFailure']);
    expect([upload.status, upload.body.error]).toMatchObject([
      500,
      { type: 'server_error', code: 'internal_error' },
    ]);
    expect(JSON.stringify([read.body, upload.body])).not.toContain('secret');
    expect(logged).toContain('cannot read secret of undefined');
    expect(logged).toContain(read.headers.get('x-request-id'));
  });
});

test('none of these requests changes an existing file', async () => {
  expect((await service.json(`/openai/v1/files/${fileId}`)).status).toBe(200);
});
