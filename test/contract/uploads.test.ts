import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INPUT_BYTES_MAX } from '../../src/contract/batch.ts';
import { batchOn, DEPLOYMENT, form, KEY_A, lines, startService, type Json, type Service } from './harness.ts';

let service: Service;
beforeAll(async () => {
  service = await startService({ filesMax: 200 });
});
afterAll(() => service.close());

const B = 'boundary';
const JSONL = '{"custom_id":"a"}\n';
const field = (name: string, value: string): string =>
  `--${B}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
const filePart = (content: string, disposition = 'name="file"; filename="t.jsonl"', type = ''): string =>
  `--${B}\r\nContent-Disposition: form-data; ${disposition}\r\n${type}\r\n${content}\r\n`;
const END = `--${B}--\r\n`;
const PURPOSE = field('purpose', 'batch');
const FILE = filePart(JSONL);

const send = (body: string | Uint8Array, type = `multipart/form-data; boundary=${B}`) =>
  service.json('/openai/v1/files', {
    method: 'POST',
    headers: { 'content-type': type },
    body: typeof body === 'string' ? new TextEncoder().encode(body) : body.slice(),
  });

const stored = async (): Promise<{ rows: number; blobs: number }> => {
  const { body } = await service.json('/openai/v1/files');
  let blobs = 0;
  for await (const _id of service.deps.blobs.list()) blobs++;
  return { rows: body.data.length, blobs };
};

describe('a form is taken', () => {
  test.each([
    ['with the purpose first', PURPOSE + FILE + END],
    ['with the file first', FILE + PURPOSE + END],
    ['without a type of the file', PURPOSE + FILE + END],
    ['with a JSON type', PURPOSE + filePart(JSONL, undefined, 'Content-Type: application/json\r\n') + END],
    [
      'with a binary type',
      PURPOSE + filePart(JSONL, undefined, 'Content-Type: application/octet-stream\r\n') + END,
    ],
    ...['7bit', '8bit', 'binary'].map((coding): [string, string] => [
      `with a file that says it is in ${coding}, which is no coding`,
      PURPOSE + filePart(JSONL, undefined, `Content-Transfer-Encoding: ${coding}\r\n`) + END,
    ]),
    ['with text before and after', `preamble\r\n${PURPOSE}${FILE}${END}epilogue`],
    ['with fields that nobody knows', field('color', 'blue') + PURPOSE + FILE + field('size', 'xl') + END],
    ['with a line break after the end', `${PURPOSE}${FILE}${END}\r\n`],
    ['with a boundary in quotes', PURPOSE + FILE + END, `multipart/form-data; boundary="${B}"`],
    ['with a type in capitals', PURPOSE + FILE + END, `Multipart/Form-Data; boundary=${B}`],
  ])('%s', async (_name, body, type?: string) => {
    const answer = await send(body, type);

    expect([answer.status, answer.body.bytes, answer.body.filename]).toEqual([201, JSONL.length, 't.jsonl']);
    const content = await service.fetch(`/openai/v1/files/${answer.body.id}/content`);
    expect(await content.text()).toBe(JSONL);
  });

  test('with a file of 0 bytes, since the batch will say what is wrong', async () => {
    const { status, body } = await send(PURPOSE + filePart('') + END);

    expect([status, body.bytes]).toEqual([201, 0]);
  });

  test('with any bytes in the file, unchanged', async () => {
    const bytes = Buffer.from(
      Array.from({ length: 65_536 }, (_, index) => (index * 7 + (index >> 8)) & 0xff),
    );
    const { status, body } = await service.post('/v1/files', form(bytes));

    const content = Buffer.from(await (await service.fetch(`/v1/files/${body.id}/content`)).arrayBuffer());
    expect(status).toBe(200);
    expect(content.equals(bytes)).toBe(true);
  });
});

describe('a form is refused', () => {
  test.each<[string, string, string, RegExp, string?]>([
    ['without a purpose', FILE + END, 'invalidPayload', /Missing required parameter: 'purpose'/],
    ['without a file', PURPOSE + END, 'invalidPayload', /Missing required parameter: 'file'/],
    ['without anything', END, 'invalidPayload', /Missing required parameter: 'purpose'/],
    [
      'with a wrong purpose first',
      field('purpose', 'fun') + FILE + END,
      'invalidPayload',
      /Invalid value for purpose/,
    ],
    [
      'with a wrong purpose last',
      FILE + field('purpose', 'fun') + END,
      'invalidPayload',
      /Invalid value for purpose/,
    ],
    [
      'with the purpose of another service',
      FILE + field('purpose', 'assistants') + END,
      'invalidPayload',
      /Invalid value for purpose/,
    ],
    ['with the purpose twice', PURPOSE + PURPOSE + FILE + END, 'invalidPayload', /'purpose' was sent twice/],
    ['with two files', PURPOSE + FILE + FILE + END, 'invalidPayload', /one file/],
    [
      'with the file under another name',
      PURPOSE + filePart(JSONL, 'name="data"; filename="t.jsonl"') + END,
      'invalidPayload',
      /'data'.*Name it 'file'/,
    ],
    [
      'with another suffix',
      PURPOSE + filePart(JSONL, 'name="file"; filename="t.csv"') + END,
      'invalidPayload',
      /\.jsonl/,
    ],
    [
      'with another suffix and then a wrong purpose',
      filePart(JSONL, 'name="file"; filename="t.csv"') + field('purpose', 'assistants') + END,
      'invalidPayload',
      /Invalid value for purpose/,
    ],
    [
      'with a wrong purpose and then another suffix',
      field('purpose', 'assistants') + filePart(JSONL, 'name="file"; filename="t.csv"') + END,
      'invalidPayload',
      /Invalid value for purpose/,
    ],
    [
      'with another suffix and no purpose',
      filePart(JSONL, 'name="file"; filename="t.csv"') + END,
      'invalidPayload',
      /Missing required parameter: 'purpose'/,
    ],
    [
      'with 11 parts',
      Array.from({ length: 10 }, (_, i) => field(`f${i}`, 'x')).join('') + PURPOSE + FILE + END,
      'invalidPayload',
      /more than 10 parts/,
    ],
    [
      'with 11 parts around the file',
      PURPOSE + FILE + Array.from({ length: 9 }, (_, i) => field(`f${i}`, 'x')).join('') + END,
      'invalidPayload',
      /more than 10 parts/,
    ],
    [
      'with a field that is too long',
      field('purpose', 'b'.repeat(5_000)) + FILE + END,
      'invalidPayload',
      /'purpose' is too long/,
    ],
    [
      'with a field named __proto__',
      field('__proto__', 'x') + PURPOSE + FILE + END,
      'invalidPayload',
      /malformed/,
    ],
    [
      'with an expiry below the least',
      field('expires_after[anchor]', 'created_at') +
        field('expires_after[seconds]', '5') +
        PURPOSE +
        FILE +
        END,
      'invalidPayload',
      /'expires_after\.seconds'/,
    ],
    [
      'with an expiry in words, after the file',
      FILE +
        PURPOSE +
        field('expires_after.anchor', 'created_at') +
        field('expires_after.seconds', 'soon') +
        END,
      'invalidPayload',
      /'expires_after\.seconds'/,
    ],
    [
      'with an expiry from another anchor',
      FILE +
        PURPOSE +
        field('expires_after[anchor]', 'now') +
        field('expires_after[seconds]', '1209600') +
        END,
      'invalidPayload',
      /'expires_after\.anchor'/,
    ],
    [
      'with an expiry without its anchor',
      PURPOSE + field('expires_after[seconds]', '1209600') + FILE + END,
      'invalidPayload',
      /Missing required parameter: 'expires_after\.anchor'/,
    ],
    [
      'with an expiry without its seconds',
      FILE + PURPOSE + field('expires_after[anchor]', 'created_at') + END,
      'invalidPayload',
      /Missing required parameter: 'expires_after\.seconds'/,
    ],
    ...['base64', 'quoted-printable', 'BASE64', 'x-gzip'].flatMap(
      (coding): [string, string, string, RegExp][] => {
        const header = `Content-Transfer-Encoding: ${coding}\r\n`;
        const refusal = new RegExp(`has the Content-Transfer-Encoding '${coding.toLowerCase()}'`);
        return [
          [
            `with a file in ${coding}`,
            PURPOSE + filePart('eyJhIjoxfQo=', undefined, header) + END,
            'invalidPayload',
            refusal,
          ],
          [
            `with a purpose in ${coding}`,
            `--${B}\r\nContent-Disposition: form-data; name="purpose"\r\n${header}\r\nYmF0Y2g=\r\n${FILE}${END}`,
            'invalidPayload',
            refusal,
          ],
        ];
      },
    ),
    [
      'that is cut in the file',
      PURPOSE + `--${B}\r\nContent-Disposition: form-data; name="file"; filename="t.jsonl"\r\n\r\n{"a`,
      'invalidPayload',
      /cut off/,
    ],
    [
      'that is cut in a field',
      `--${B}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nba`,
      'invalidPayload',
      /cut off/,
    ],
    ['that is cut in a part header', `--${B}\r\nContent-Dispo`, 'invalidPayload', /cut off|purpose/],
    ['that is cut before the last boundary', PURPOSE + FILE, 'invalidPayload', /cut off/],
    [
      'with another boundary than announced',
      PURPOSE + FILE + END,
      'invalidPayload',
      /boundary/,
      'multipart/form-data; boundary=other',
    ],
    ['without a boundary', PURPOSE + FILE + END, 'invalidPayload', /boundary/, 'multipart/form-data'],
    [
      'with an empty boundary',
      PURPOSE + FILE + END,
      'invalidPayload',
      /boundary/,
      'multipart/form-data; boundary=',
    ],
    ['that is empty', '', 'invalidPayload', /multipart/],
    [
      'of another kind',
      PURPOSE + FILE + END,
      'invalidPayload',
      /multipart|Content-Type/,
      `multipart/mixed; boundary=${B}`,
    ],
  ])('%s, and leaves nothing behind', async (_name, body, code, message, type?) => {
    const before = await stored();

    const answer = await send(body, type);

    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(answer.body.error.code).toBe(code);
    expect(answer.body.error.message).toMatch(message);
    expect(await stored()).toEqual(before);
  });

  test.each([
    [
      'before the file',
      field('purpose', 'batch') + field('purpose', 'batch') + filePart('x'.repeat(20_000_000)) + END,
    ],
    [
      'in the name of the file',
      PURPOSE + filePart('x'.repeat(20_000_000), 'name="file"; filename="t.csv"') + END,
    ],
    ['after the file', filePart('x'.repeat(20_000_000)) + field('purpose', 'fun') + END],
  ])('for a fault %s of 20 MB, and the connection can be used again', async (_name, body) => {
    const before = await stored();
    const head = (line: string, length: number): string =>
      `${line} HTTP/1.1\r\nHost: x\r\napi-key: ${KEY_A}\r\nContent-Type: multipart/form-data; boundary=${B}\r\nContent-Length: ${length}\r\n\r\n`;
    const socket = connect(service.port, '127.0.0.1');
    let answers = '';
    const both = new Promise<void>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('close', () => reject(new Error(`closed after: ${answers}`)));
      socket.on('data', (chunk) => {
        answers += chunk.toString('latin1');
        if (answers.match(/HTTP\/1\.1/g)?.length === 2) resolve();
      });
    });

    socket.write(head('POST /openai/v1/files', body.length) + body + head('GET /openai/v1/files', 0));

    await both;
    expect(answers.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 400', 'HTTP/1.1 200']);
    socket.removeAllListeners('close').destroy();
    expect(await stored()).toEqual(before);
  });
});

describe('a file name', () => {
  test.each([
    ['C:\\batch\\test.jsonl', 'test.jsonl'],
    ['../../etc/cron.d/x.jsonl', 'x.jsonl'],
    ['/absolute/x.jsonl', 'x.jsonl'],
    ['한국어 파일.jsonl', '한국어 파일.jsonl'],
    ['emoji 😀.jsonl', 'emoji 😀.jsonl'],
    ["quote'and;semi.jsonl", "quote'and;semi.jsonl"],
    ['tab\tname.jsonl', 'tab_name.jsonl'],
    ['gnp.\u202elnosj.jsonl', 'gnp._lnosj.jsonl'],
    ['CON.jsonl', 'CON.jsonl'],
    ['%2e%2e%2f.jsonl', '%2e%2e%2f.jsonl'],
  ])('%j is kept as %j, and comes back in the header', async (given, kept) => {
    const { status, body } = await send(PURPOSE + filePart(JSONL, `name="file"; filename="${given}"`) + END);

    expect([status, body.filename]).toEqual([201, kept]);
    const { headers } = await service.fetch(`/openai/v1/files/${body.id}/content`);
    expect(headers.get('content-type')).toBe('application/octet-stream');
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    const encoded = /filename\*=UTF-8''(\S+)$/.exec(headers.get('content-disposition') ?? '')?.[1];
    expect(decodeURIComponent(encoded ?? '')).toBe(kept);
  });
});

describe.each(['/openai/v1', '/v1', '/openai', '/default/openai', '/default/v1'])(
  'under %s, a name without an extension is taken',
  (root) => {
    const query = root.endsWith('openai') ? '?api-version=2024-10-21' : '';

    test.each([
      ['upload', 'upload'],
      ['unknown_file', 'unknown_file'],
      ['anonymous_file', 'anonymous_file'],
      ['file1a2b3c', 'file1a2b3c'],
      ['/tmp/RtmpX.1/file1a2b3c', 'file1a2b3c'],
      ['<fdopen>', '<fdopen>'],
      ['-', '-'],
      ['in.', 'in.'],
      ['IN.JSONL', 'IN.JSONL'],
      ['..', 'upload.jsonl'],
      ['', 'upload.jsonl'],
      [null, 'upload.jsonl'],
    ])('%j, and kept as %j', async (given, kept) => {
      const disposition = given === null ? 'name="file"' : `name="file"; filename="${given}"`;

      const { status, body } = await service.json(`${root}/files${query}`, {
        method: 'POST',
        headers: { 'content-type': `multipart/form-data; boundary=${B}` },
        body: PURPOSE + filePart(JSONL, disposition) + END,
      });

      expect([status, body.filename, body.bytes]).toEqual([
        root.endsWith('/v1') && !root.includes('openai') ? 200 : 201,
        kept,
        JSONL.length,
      ]);
      await service.json(`${root}/files/${body.id}${query}`, { method: 'DELETE' });
    });
  },
);

describe('limits', () => {
  test('a length above the limit is refused before a byte is read', async () => {
    const answer = await service.raw(
      `POST /openai/v1/files HTTP/1.1\r\nHost: x\r\napi-key: ${KEY_A}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 999999999999\r\n\r\n`,
    );

    expect(answer).toMatch(/^HTTP\/1\.1 413/);
    expect(answer).toContain('invalidPayload');
  });

  test('one byte above 200 MiB is refused, and leaves nothing behind', async () => {
    const before = await stored();
    const part = new Uint8Array(1024 * 1024).fill(0x61);
    const oversized = async function* () {
      yield Buffer.from(
        `${PURPOSE}--${B}\r\nContent-Disposition: form-data; name="file"; filename="t.jsonl"\r\n\r\n`,
      );
      for (let sent = 0; sent < INPUT_BYTES_MAX; sent += part.length) yield part;
      yield Buffer.from(`x\r\n${END}`);
    };

    const { status, body } = await service.json('/openai/v1/files', {
      method: 'POST',
      headers: { 'content-type': `multipart/form-data; boundary=${B}` },
      body: ReadableStream.from(oversized()),
      duplex: 'half',
    } as RequestInit);

    expect([status, body.error.code]).toEqual([413, 'invalidPayload']);
    expect(body.error.message).toContain(`${INPUT_BYTES_MAX}`);
    expect(await stored()).toEqual(before);
  });

  test('one file more than a resource may have is refused in the words of the original', async () => {
    await using small = await startService({ filesMax: 2 });
    const upload = (path: string) => small.post(path, form(JSONL));
    await upload('/openai/v1/files');
    await upload('/openai/v1/files');

    const azure = await upload('/openai/v1/files');
    const openai = await upload('/v1/files');

    expect([azure.status, azure.body.error]).toEqual([
      400,
      {
        code: 'quotaExceeded',
        message: 'The quota for files without expiry is reached. The maximum is 2.',
      },
    ]);
    expect([openai.status, openai.body.error.code]).toEqual([400, 'file_quota_exceeded']);
  });
});

describe('an import', () => {
  test('from a listed host is a file like any other, and from another host is refused', async () => {
    const origin = createServer((_request, response) => response.end(lines(1))).listen(0, '127.0.0.1');
    await new Promise((resolve) => origin.once('listening', resolve));
    const { port } = origin.address() as AddressInfo;
    const importing = await startService({ importHosts: [`127.0.0.1:${port}`] });
    try {
      const call = (path: string, body: Json) =>
        importing.json(path, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ purpose: 'batch', filename: 'in.jsonl', ...body }),
        });

      const content_url = `http://127.0.0.1:${port}/in.jsonl?sig=secret`;
      const expires_after = { anchor: 'created_at', seconds: 1_209_600 };
      const imported = await call('/openai/v1/files/import', { content_url, expires_after });
      const elsewhere = await call('/v1/files/import', { content_url: 'http://127.0.0.1:1/in.jsonl' });
      const purpose = await call('/openai/v1/files/import', { content_url, purpose: 'fun' });
      const purposeFirst = await call('/openai/v1/files/import', {
        purpose: 'assistants',
        filename: 'in.csv',
      });
      const bare = await call('/openai/v1/files/import', { content_url, filename: 'file1a2b3c' });
      const foreign = await call('/openai/v1/files/import', { content_url, filename: 'in.csv' });

      expect([imported.status, imported.body.bytes]).toEqual([201, lines(1).length]);
      expect(imported.body.expires_at).toBe(imported.body.created_at + 1_209_600);
      expect(imported.headers.get('location')).toBe(`/openai/v1/files/${imported.body.id}`);
      expect([elsewhere.status, elsewhere.body.error.code]).toEqual([400, 'file_import_failed']);
      for (const refused of [purpose, purposeFirst])
        expect([refused.status, refused.body.error.message, refused.body.error.target]).toEqual([
          400,
          expect.stringContaining('Invalid value for purpose'),
          'purpose',
        ]);
      expect([bare.status, bare.body.filename]).toEqual([201, 'file1a2b3c']);
      expect([foreign.status, foreign.body.error.message]).toEqual([
        400,
        expect.stringContaining('wrong suffix'),
      ]);
    } finally {
      await importing.close();
      origin.close();
    }
  });
});

describe('what official clients send, byte for byte', () => {
  const expiry = '1209600';
  const part = (boundary: string, disposition: string, content: string, type = ''): string =>
    `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n${type}\r\n${content}\r\n`;
  const octets = 'Content-Type: application/octet-stream\r\n';
  const parts = (
    boundary: string,
    order: ('file' | 'purpose' | 'anchor' | 'seconds')[],
    tail = '',
  ): string => {
    const all = {
      file: part(boundary, 'name="file"; filename="t.jsonl"', JSONL, octets),
      purpose: part(boundary, 'name="purpose"', 'batch'),
      anchor: part(boundary, 'name="expires_after[anchor]"', 'created_at'),
      seconds: part(boundary, 'name="expires_after[seconds]"', expiry),
    };
    return `${order.map((name) => all[name]).join('')}--${boundary}--\r\n${tail}`;
  };

  const CAPTURES: [string, string, string, string][] = [
    [
      'openai-node 7',
      '2024-10-21',
      'openai-0kxg10s9tdh',
      parts('openai-0kxg10s9tdh', ['file', 'purpose', 'anchor', 'seconds']),
    ],
    [
      'openai-node 5',
      '2024-10-21',
      '----formdata-undici-040908263926',
      parts('----formdata-undici-040908263926', ['purpose', 'anchor', 'seconds', 'file']),
    ],
    [
      'openai-node 4',
      '2024-10-21',
      'form-data-boundary-k2u4lrzo9b44krhx',
      parts('form-data-boundary-k2u4lrzo9b44krhx', ['purpose', 'anchor', 'seconds', 'file'], '\r\n'),
    ],
    [
      'openai-python 3',
      '2025-04-01-preview',
      '55a2c3cad0eed4790ef2a9860cac98df',
      parts('55a2c3cad0eed4790ef2a9860cac98df', ['purpose', 'seconds', 'anchor', 'file']),
    ],
  ];

  test.each(CAPTURES)('%s uploads', async (_client, version, boundary, body) => {
    const answer = await service.raw(
      `POST /openai/files?api-version=${version} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\napi-key: ${KEY_A}\r\naccept-encoding: gzip, deflate\r\ncontent-type: multipart/form-data; boundary=${boundary}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );

    expect(answer).toMatch(/^HTTP\/1\.1 201/);
    const file = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
    expect(file).toMatchObject({ bytes: JSONL.length, filename: 't.jsonl', purpose: 'batch' });
    expect(file.expires_at).toBe(version === '2024-10-21' ? null : file.created_at + Number(expiry));
  });

  test.each([
    ['GET', '/openai/batches/batch_1?api-version=2024-10-21', 404],
    ['POST', '/openai/batches/batch_1/cancel?api-version=2024-10-21', 404],
    ['GET', '/openai/batches?api-version=2024-10-21&limit=2', 200],
    ['GET', '/openai/files/file-1/content?api-version=2024-10-21', 404],
    ['DELETE', '/openai/files/file-1?api-version=2024-10-21', 404],
  ])('openai-node 4 announces JSON on %s %s and sends none', async (method, path, status) => {
    const answer = await service.raw(
      `${method} ${path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\ncontent-type: application/json\r\napi-key: ${KEY_A}\r\nx-stainless-timeout: 600\r\n\r\n`,
    );

    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  });

  test('openai-python asks for Blob input, and is told that it is not there yet', async () => {
    const body =
      '{"completion_window":"24h","endpoint":"/chat/completions","input_file_id":null,"input_blob":"https://x/y","output_folder":{"url":"https://x/o"}}';

    const answer = await service.raw(
      `POST /openai/batches?api-version=2025-04-01-preview HTTP/1.1\r\nhost: localhost\r\napi-key: ${KEY_A}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );

    expect(answer).toMatch(/^HTTP\/1\.1 400/);
    expect(answer).toContain('Blob input and output are not available in this version yet');
  });

  test("openai-node 7's create with a deployment is the create of any client", async () => {
    const input_file_id = await service.upload(lines(1));
    const body = JSON.stringify(batchOn(input_file_id));

    const answer = await service.raw(
      `POST /openai/deployments/${DEPLOYMENT}/batches?api-version=2024-10-21 HTTP/1.1\r\nhost: localhost\r\napi-key: ${KEY_A}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );

    expect(answer).toMatch(/^HTTP\/1\.1 200/);
    const batch = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
    await service.waitFor(batch.id, 'completed');
  });
});

test('many uploads at once are all kept, each with its own bytes', async () => {
  const contents = Array.from({ length: 20 }, (_, index) => lines(index + 1));

  const answers = await Promise.all(
    contents.map((content) => service.post('/openai/v1/files', form(content))),
  );

  for (const [index, { status, body }] of answers.entries()) {
    expect(status).toBe(201);
    const bytes = await (await service.fetch(`/openai/v1/files/${body.id}/content`)).bytes();
    const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');
    expect(sha256(bytes)).toBe(sha256(contents[index] ?? ''));
  }
});
