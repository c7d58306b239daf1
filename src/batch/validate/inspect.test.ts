import { gzipSync } from 'node:zlib';

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { BATCH_ENDPOINTS, BATCH_ERRORS_MAX, LINE_BYTES_MAX, REQUESTS_MAX } from '../../contract/batch.ts';
import {
  IMAGE_LINES_MAX,
  LINE_GROUPS_MAX,
  SEGMENT_BYTES_MAX,
  SEGMENT_REQUESTS_MAX,
} from '../../contract/inspection.ts';
import { inspectInput } from './inspect.ts';

const inspect = (...chunks: (string | Uint8Array)[]) =>
  inspectInput(chunks.map((chunk) => Buffer.from(chunk)));
const faults = async (...chunks: (string | Uint8Array)[]) =>
  (await inspect(...chunks)).errors?.data.map(({ line, code, param }) => [line, code, param]) ?? [];
const messages = async (...chunks: string[]) =>
  (await inspect(...chunks)).errors?.data.map(({ message }) => message) ?? [];

/** Each endpoint needs this member. */
const ASKED = '"messages":[{"role":"user","content":"Hi"}],"input":"Hi","prompt":"Hi"';
/** Makes the body of a request. `members` are JSON text. */
const body = (members: string) => `{${members},${ASKED}}`;
const BODY = body('"model":"gpt-4o"');
/** Makes a request line. Members are replaced or, with undefined, left out. Values are JSON text. */
function line(members: Record<string, string | undefined> = {}): string {
  const all = { custom_id: '"a"', method: '"POST"', url: '"/chat/completions"', body: BODY, ...members };
  const written = Object.entries(all).filter(([, value]) => value !== undefined);
  return `{${written.map(([name, value]) => `"${name}":${value}`).join(',')}}`;
}
const withId = (id: number | string) => line({ custom_id: JSON.stringify(String(id)) });
const nested = (levels: number) =>
  line({ body: body(`"model":"gpt-4o","x":${'['.repeat(levels)}${']'.repeat(levels)}`) });

describe('a good file', () => {
  test('is summed up', async () => {
    expect(await inspect(`${withId(1)}\n${withId(2)}\n`)).toEqual({
      requests: 2,
      tokens: expect.any(Number),
      model: 'gpt-4o',
      groups: [{ url: '/chat/completions', model: 'gpt-4o', requests: 2, faulty: 0, lines: [[1, 2]] }],
      errors: null,
      imageLines: [],
      imageLinesOmitted: 0,
      segments: [{ firstLine: 1, requests: 2, byteStart: 0, byteLength: 2 * (withId(1).length + 1) }],
    });
  });

  test.each([
    ['LF', `${withId(1)}\n${withId(2)}\n`],
    ['CRLF', `${withId(1)}\r\n${withId(2)}\r\n`],
    ['mixed line ends', `${withId(1)}\r\n${withId(2)}\n`],
    ['no final line end', `${withId(1)}\n${withId(2)}`],
    ['a byte order mark', `\ufeff${withId(1)}\n${withId(2)}\n`],
    ['blank lines', `\n\n${withId(1)}\n \t\r\n${withId(2)}\n\n\n`],
    ['white space around the requests', ` ${withId(1)} \n\t${withId(2)}\t\n`],
    ['the line separators of Unicode in strings', `${withId('1\u2028\u2029\u0085')}\n${withId(2)}\n`],
  ])('may have %s', async (_, file) => {
    expect(await inspect(file)).toMatchObject({ requests: 2, errors: null });
    expect(await inspect(...[...Buffer.from(file)].map((byte) => Buffer.from([byte])))).toEqual(
      await inspect(file),
    );
  });

  test.each([
    ['big integers', '"model":"gpt-4o","n":123456789012345678901234567890'],
    ['1e400 and -0', '"model":"gpt-4o","n":[1e400,-0,-0.0E+00]'],
    ['escapes', '"mod\\u0065l":"gpt\\u002d4o","n":"\\ud800\\n\\/"'],
    ['__proto__', '"model":"gpt-4o","__proto__":{"model":"x"},"constructor":1'],
    ['stream: false', '"model":"gpt-4o","stream":false'],
    ['stream: null', '"model":"gpt-4o","stream":null'],
    ['stream: 0', '"model":"gpt-4o","stream":-0.0e5'],
    ['background: false', '"model":"gpt-4o","background":false'],
    ['empty names', '"model":"gpt-4o","":{"":""}'],
  ])('may have %s in its bodies', async (_, members) => {
    expect(await inspect(line({ body: body(members) }))).toMatchObject({ model: 'gpt-4o', errors: null });
  });

  test('may have members that no one asked for', async () => {
    expect(await faults(line({ note: '{"model":"x"}', __proto__: '1' }))).toEqual([]);
  });

  test('may address an endpoint with and without /v1', async () => {
    const file = [line({ url: '"/v1/responses"' }), line({ custom_id: '"b"', url: '"\\/responses"' })].join(
      '\n',
    );

    expect(await inspect(file)).toMatchObject({
      groups: [{ url: '/responses', model: 'gpt-4o', requests: 2, faulty: 0, lines: [[1, 2]] }],
      errors: null,
    });
  });

  test('may have custom_ids that only look alike', async () => {
    const ids = ['A', 'a', '1', '01', ' 1', 'é', 'e\u0301', '\u0000', '', '', '__proto__'].filter(Boolean);

    expect(await faults(ids.map(withId).join('\n'))).toEqual([]);
  });
});

describe('a file without requests', () => {
  test.each([
    ['nothing', ''],
    ['line ends', '\n\r\n\n'],
    ['a byte order mark', '\ufeff'],
    ['a byte order mark and a line end', '\ufeff\n'],
    ['white space', ' \t \r\n   '],
  ])('of %s is empty_file', async (_, file) => {
    const { errors, requests, model, groups, segments } = await inspect(file);

    expect({ requests, model, groups, segments }).toEqual({
      requests: 0,
      model: null,
      groups: [],
      segments: [],
    });
    expect(errors).toEqual({
      data: [
        {
          code: 'empty_file',
          message: 'The input file is empty. Please ensure that the batch contains at least one request.',
          param: null,
          line: null,
        },
      ],
      omitted: 0,
    });
  });

  test('is known as empty quickly, however many line ends it has', async () => {
    const lineEnds = Buffer.alloc(1024 * 1024, '\n');
    const startMs = performance.now();

    const { errors } = await inspectInput(Array<Buffer>(200).fill(lineEnds));

    expect(errors?.data[0]?.code).toBe('empty_file');
    expect(performance.now() - startMs).toBeLessThan(10_000);
  });
});

describe('a line that is not JSON', () => {
  test.each<[string, string | Uint8Array, number[]]>([
    ['is not UTF-8', Buffer.from(line({ custom_id: '"\xff"' }), 'latin1'), [1]],
    ['has an overlong encoding', Buffer.from(line({ custom_id: '"\xc0\xaf"' }), 'latin1'), [1]],
    ['has a surrogate encoded by itself', Buffer.from(line({ custom_id: '"\xed\xa0\x80"' }), 'latin1'), [1]],
    ['is UTF-16', Buffer.from(`\ufeff${line()}\n`, 'utf16le'), [1, 2]],
    ['is text', 'hello', [1]],
    ['is cut off', line().slice(0, -1), [1]],
    ['is cut off within a string', line().slice(0, 16), [1]],
    ['has two values', `${line()}${line()}`, [1]],
    ['ends in a comma', `${line()},`, [1]],
    ['has single quotes', "{'custom_id':'a'}", [1]],
    ['has NaN', line({ body: '{"model":"m","n":NaN}' }), [1]],
    ['has a bare control character', line({ custom_id: '"a\u0001"' }), [1]],
    ['has a bare tab in a string', line({ custom_id: '"a\t"' }), [1]],
    ['has a number with a leading zero', line({ n: '01' }), [1]],
    ['has an unknown escape', line({ custom_id: '"\\x41"' }), [1]],
    ['has a second byte order mark', `\ufeff\ufeff${line()}`, [1]],
    ['is an array of requests', `[${line()},${withId('b')}]`, [1]],
    [
      'is part of a pretty-printed request',
      JSON.stringify(JSON.parse(line({ body: '{"model":"m","messages":[]}' })), null, 1),
      [1, 2, 3, 4, 5, 6, 7, 8, 9],
    ],
    ['is part of a pretty-printed array', `[\n${line()},\n${withId('b')}\n]`, [1, 2, 4]],
  ])('because it %s is invalid_json_line', async (_, file, lines) => {
    expect(await faults(file)).toEqual(lines.map((number) => [number, 'invalid_json_line', null]));
  });

  test('is each line of a compressed file', async () => {
    const { errors, requests } = await inspect(
      gzipSync(Array.from({ length: 999 }, (_, id) => withId(id)).join('\n')),
    );

    expect(errors?.data.map(({ code }) => code)).toEqual(Array<string>(requests).fill('invalid_json_line'));
  });

  test('is told with its number and the place of the fault', async () => {
    expect(await messages(`${line()}\n\n{"custom_id":'b'}`)).toEqual([
      "Line 3: this line could not be parsed as valid JSON: unexpected ''' at position 14. Please ensure no typos, proper opening and closing brackets, and quotes as per JSON standard, and that each request is on one line.",
    ]);
    expect(await messages('{"custom_id":')).toEqual([
      expect.stringContaining('Line 1: this line could not be parsed as valid JSON: it ends too early.'),
    ]);
    expect(await messages('{\u0001')).toEqual([
      expect.stringContaining('unexpected byte 0x01 at position 2'),
    ]);
  });
});

describe('a line that is JSON but no request', () => {
  test.each([
    ['a number', '1', null],
    ['a string', '"x"', null],
    ['null', 'null', null],
    ['an empty array', '[]', null],
    ['an array of numbers', '[1]', null],
    ['nested too deep', nested(127), null],
    ['nested a million deep', nested(1_000_000), null],
    ['a key twice', line({ custom_id: '"a","custom_id":"a"' }), 'custom_id'],
    ['a key twice, once in escapes', line({ custom_id: '"a","custom\\u005fid":"b"' }), 'custom_id'],
    ['a model twice', line({ body: '{"model":"m","model":"m"}' }), 'body.model'],
    [
      '10,001 keys in the body',
      line({ body: `{"model":"m",${Array.from({ length: 10_000 }, (_, key) => `"${key}":0`).join(',')}}` }),
      'body',
    ],
    ['no custom_id', line({ custom_id: undefined }), 'custom_id'],
    ['custom_id a number', line({ custom_id: '1' }), 'custom_id'],
    ['custom_id null', line({ custom_id: 'null' }), 'custom_id'],
    ['custom_id empty', line({ custom_id: '""' }), 'custom_id'],
    ['custom_id of 513 characters', withId('x'.repeat(513)), 'custom_id'],
    ['custom_id of a megabyte', withId('x'.repeat(1_000_000)), 'custom_id'],
    ['no method', line({ method: undefined }), 'method'],
    ['method GET', line({ method: '"GET"' }), 'method'],
    ['method in lower case', line({ method: '"post"' }), 'method'],
    ['method a boolean', line({ method: 'true' }), 'method'],
    ['method empty', line({ method: '""' }), 'method'],
    ['no url', line({ url: undefined }), 'url'],
    ['url an object', line({ url: '{}' }), 'url'],
    ['url empty', line({ url: '""' }), 'url'],
    ['url of 257 characters', line({ url: `"/${'x'.repeat(256)}"` }), 'url'],
    ['no body', line({ body: undefined }), 'body'],
    ['body a string', line({ body: '"{}"' }), 'body'],
    ['body an array', line({ body: '[]' }), 'body'],
    ['body null', line({ body: 'null' }), 'body'],
    ['no model', line({ body: body('"n":1') }), 'body.model'],
    ['model deeper only', line({ body: '{"messages":[{"model":"m"}]}' }), 'body.model'],
    ['model null', line({ body: '{"model":null}' }), 'body.model'],
    ['model empty', line({ body: '{"model":""}' }), 'body.model'],
    ['model of 257 characters', line({ body: `{"model":"${'x'.repeat(257)}"}` }), 'body.model'],
  ])('is invalid_request with %s', async (_, bad, param) => {
    expect(await faults(`${withId('good')}\n${bad}\n`)).toEqual([[2, 'invalid_request', param]]);
  });

  test.each([
    ['custom_id of 512 characters', withId('가'.repeat(512))],
    ['custom_id of 512 escapes', line({ custom_id: `"${'\\uac00'.repeat(512)}"` })],
    ['model of 256 characters', line({ body: body(`"model":"${'x'.repeat(256)}"`) })],
    ['a nesting of 128', nested(126)],
  ])('but taken with %s', async (_, good) => {
    expect(await faults(good)).toEqual([]);
  });

  test('is invalid_request when it is larger than 16 MiB, and lines after it are still read', async () => {
    const mebibyte = Buffer.alloc(1024 * 1024, 'x');
    const oversized = [
      Buffer.from('{"custom_id":"'),
      ...Array<Buffer>(LINE_BYTES_MAX / mebibyte.length).fill(mebibyte),
      Buffer.from('"}\n'),
    ];

    expect(await faults(...oversized, withId(1), '\n', '{}\n')).toEqual([
      [1, 'invalid_request', null],
      [3, 'invalid_request', 'custom_id'],
    ]);
  });

  test('says what is wrong and what to do', async () => {
    expect(
      await messages(
        `${withId(1)}\n${line({ custom_id: '{}' })}\n${line({ method: '"GET"' })}\n${line({ body: '{"model":"m","a":1,"a":2}' })}`,
      ),
    ).toEqual([
      'Line 2: custom_id must be a string, but is an object. Please give each request a string of 1 to 512 characters that is unique in the file.',
      'Line 3: method is "GET". Please set it to "POST", the only one a batch can send.',
      'Line 4: the key "a" is given twice in the body. Please keep only one of them.',
    ]);
  });
});

describe('what the model is asked', () => {
  const asking = (url: string, members: string) =>
    line({ url: `"${url}"`, body: `{"model":"gpt-4o"${members && `,${members}`}}` });

  test.each([
    ['/chat/completions', '', 'messages'],
    ['/chat/completions', '"messages":null', 'messages'],
    ['/chat/completions', '"messages":[]', 'messages'],
    ['/chat/completions', '"messages":[ \t\r ]', 'messages'],
    ['/chat/completions', '"messages":"Hi"', 'messages'],
    ['/chat/completions', '"messages":{"role":"user","content":"Hi"}', 'messages'],
    ['/v1/chat/completions', '"input":"Hi","prompt":"Hi"', 'messages'],
    ['/embeddings', '', 'input'],
    ['/embeddings', '"input":null', 'input'],
    ['/embeddings', '"input":""', 'input'],
    ['/embeddings', '"input":[]', 'input'],
    ['/embeddings', '"input":{}', 'input'],
    ['/v1/embeddings', '"input":7', 'input'],
    ['/v1/embeddings', '"messages":[{}]', 'input'],
    ['/responses', '', 'input'],
    ['/responses', '"input":""', 'input'],
    ['/responses', '"input":[]', 'input'],
    ['/responses', '"input":null', 'input'],
    ['/responses', '"input":true', 'input'],
    ['/responses', '"messages":[{}]', 'input'],
    ['/responses', '"previous_response_id":null', 'input'],
    ['/responses', '"previous_response_id":"resp_1","input":7', 'input'],
    ['/responses', '"previous_response_id":""', 'input'],
    ['/responses', '"previous_response_id":5,"conversation":""', 'input'],
    ['/responses', '"prompt":"Hi"', 'input'],
    ['/completions', '', 'prompt'],
    ['/completions', '"prompt":7', 'prompt'],
    ['/completions', '"prompt":{}', 'prompt'],
    ['/completions', '"prompt":[]', 'prompt'],
  ])('of %s is not taken as {%s}', async (url, members, name) => {
    const lines = [1, 2, 3].map((id) => asking(url, members).replace('"a"', `"${id}"`));

    expect(await faults(lines.join('\n'))).toEqual(
      [1, 2, 3].map((number) => [number, 'invalid_request', `body.${name}`]),
    );
  });

  test.each([
    ['/chat/completions', '"messages":[{"role":"user","content":null}]'],
    ['/embeddings', '"input":"Hi"'],
    ['/embeddings', '"input":["a","b"]'],
    ['/embeddings', '"input":[[1,2],[3]]'],
    ['/responses', '"input":"Hi"'],
    ['/responses', '"input":[{"role":"user","content":"Hi"}]'],
    ['/responses', '"previous_response_id":"resp_1"'],
    ['/responses', '"conversation":{"id":"conv_1"}'],
    ['/responses', '"conversation":"conv_1","input":null'],
    ['/responses', '"prompt":{"id":"pmpt_1"},"input":[]'],
    ['/completions', '"prompt":"Hi"'],
    ['/completions', '"prompt":""'],
    ['/completions', '"prompt":null'],
    ['/completions', '"prompt":[1,2,3]'],
  ])('of %s is taken as {%s}, as by the original', async (url, members) => {
    expect(await faults(asking(url, members))).toEqual([]);
  });

  test('is asked for in words that say what it should be', async () => {
    expect(await messages(asking('/chat/completions', '"messages":"Hi"'))).toEqual([
      'Line 1: body.messages must be an array, but is a string. Please set it to an array of messages that is not empty: it is what the model is asked.',
    ]);
    expect(await messages(asking('/responses', ''))).toEqual([
      'Line 1: body.input is missing. Please set it to a string or an array that is not empty: it is what the model is asked.',
    ]);
  });
});

describe('a url', () => {
  test.each([
    'https://api.openai.com/v1/chat/completions',
    '//host/chat/completions',
    '/chat/completions?api-version=1',
    '/chat/completions#',
    '/chat/completions/',
    '/v1/v1/chat/completions',
    '/v1/../chat/completions',
    '/./chat/completions',
    '/chat%2Fcompletions',
    '/Chat/Completions',
    '/chat/completions\n',
    ' /chat/completions',
    '/chat/completions\u0000',
    '/images/generations',
    'chat/completions',
    '/v1',
  ])('of %j is url_mismatch', async (url) => {
    expect(await faults(`${withId(1)}\n${line({ custom_id: '"b"', url: JSON.stringify(url) })}`)).toEqual([
      [2, 'url_mismatch', 'url'],
    ]);
  });

  test('may differ from line to line, for the batch to judge: where each is, is noted', async () => {
    const at = (id: number, url: string, more = {}) =>
      line({ custom_id: `"${id}"`, url: `"${url}"`, ...more });
    const file = [
      '{}',
      at(1, '/embeddings'),
      at(2, '/v1/completions', { body: '{}' }),
      '',
      at(3, '/v1/embeddings'),
      at(4, '/embeddings'),
    ].join('\n');

    const { groups } = await inspect(file);

    expect(groups).toEqual([
      {
        url: '/embeddings',
        model: 'gpt-4o',
        requests: 3,
        faulty: 0,
        lines: [
          [2, 1],
          [5, 2],
        ],
      },
      { url: '/completions', model: null, requests: 1, faulty: 1, lines: [[3, 1]] },
    ]);
  });

  test('is noted with its first lines alone, and the rest is counted', async () => {
    const { groups } = await inspect(
      Array.from({ length: BATCH_ERRORS_MAX + 7 }, (_, index) => withId(index)).join('\n'),
    );

    expect(groups).toMatchObject([{ requests: BATCH_ERRORS_MAX + 7, lines: [[1, BATCH_ERRORS_MAX]] }]);
  });
});

describe('a model', () => {
  test('may differ from line to line, for the batch to judge', async () => {
    const file = [line(), line({ custom_id: '"b"', body: body('"model":"gpt-4"') }), withId('c')].join('\n');

    const { groups, errors, model } = await inspect(file);

    expect([errors, model]).toEqual([null, 'gpt-4o']);
    expect(groups).toEqual([
      {
        url: '/chat/completions',
        model: 'gpt-4o',
        requests: 2,
        faulty: 0,
        lines: [
          [1, 1],
          [3, 1],
        ],
      },
      { url: '/chat/completions', model: 'gpt-4', requests: 1, faulty: 0, lines: [[2, 1]] },
    ]);
  });

  test('after many others differs from the first, which is named', async () => {
    const lines = Array.from({ length: LINE_GROUPS_MAX + 2 }, (_, index) =>
      line({ custom_id: `"${index}"`, body: body(`"model":"m${index}"`) }),
    );

    const { groups } = await inspect(lines.join('\n'));

    expect(groups).toHaveLength(LINE_GROUPS_MAX);
    expect(await faults(lines.join('\n'))).toEqual([
      [LINE_GROUPS_MAX + 1, 'model_mismatch', 'body.model'],
      [LINE_GROUPS_MAX + 2, 'model_mismatch', 'body.model'],
    ]);
    expect((await messages(lines.join('\n')))[0]).toContain('model "m32" does not match "m0" on line 1.');
  });

  test('that no line has is also told for the whole file, in the words of the original', async () => {
    const file = [1, 2].map((id) => line({ custom_id: `"${id}"`, body: '{}' })).join('\n');

    expect(await faults(file)).toEqual([
      [null, 'invalid_request', 'body.model'],
      [1, 'invalid_request', 'body.model'],
      [2, 'invalid_request', 'body.model'],
    ]);
    expect((await messages(file))[0]).toMatch(
      /^Validation failed: A valid model deployment name couldn't be extracted from the input file\./,
    );
  });
});

describe('a custom_id used before', () => {
  test('is duplicate_custom_id, naming the line that has it first', async () => {
    const file = [withId('x'), withId('y'), '', withId('x'), withId('x')].join('\n');

    expect(await faults(file)).toEqual([
      [4, 'duplicate_custom_id', 'custom_id'],
      [5, 'duplicate_custom_id', 'custom_id'],
    ]);
    expect(await messages(file)).toEqual([
      expect.stringContaining('Line 4: custom_id "x" was used on line 1 already.'),
      expect.stringContaining('Line 5: custom_id "x" was used on line 1 already.'),
    ]);
  });

  test('is found when the two are spelled differently', async () => {
    expect(
      await faults([line({ custom_id: '"a/é"' }), line({ custom_id: '"\\u0061\\/\\u00e9"' })].join('\n')),
    ).toEqual([[2, 'duplicate_custom_id', 'custom_id']]);
  });

  test('is found when the first use was on a line with another fault', async () => {
    expect(await faults([line({ method: '"GET"' }), line()].join('\n'))).toEqual([
      [1, 'invalid_request', 'method'],
      [2, 'duplicate_custom_id', 'custom_id'],
    ]);
  });

  test('is shown shortened and on one line', async () => {
    const id = `<script>\n\u001b[31m${'x'.repeat(400)}`;
    const [message] = await messages(`${withId(id)}\n${withId(id)}`);

    expect(message).not.toMatch(/\p{Cc}/u);
    expect(message?.length).toBeLessThan(300);
  });
});

describe('many faults', () => {
  test('are all told with their lines, up to 1,000, and the rest is counted', async () => {
    const { errors, segments, requests } = await inspect(
      Array.from({ length: 2_500 }, (_, index) => (index % 2 ? withId(index) : 'x')).join('\n'),
    );

    expect(requests).toBe(2_500);
    expect(errors?.data.map(({ line: number }) => number)).toEqual(
      Array.from({ length: BATCH_ERRORS_MAX }, (_, index) => index * 2 + 1),
    );
    expect(errors?.omitted).toBe(250);
    expect(segments).toEqual([]);
  });
});

describe('100,000 requests', () => {
  function* file(count: number, read: { lines: number }): Generator<Buffer> {
    for (let index = 0; index < count; index++) {
      read.lines++;
      yield Buffer.from(`${withId(index)}\n`);
    }
  }

  test('are taken', async () => {
    expect(await inspectInput(file(REQUESTS_MAX, { lines: 0 }))).toMatchObject({
      requests: REQUESTS_MAX,
      errors: null,
    });
  });

  test('and one more are too_many_tasks, and the rest is not read', async () => {
    const read = { lines: 0 };

    const { errors, segments } = await inspectInput(file(REQUESTS_MAX * 3, read));

    expect(read.lines).toBe(REQUESTS_MAX + 1);
    expect(segments).toEqual([]);
    expect(errors).toEqual({
      data: [
        {
          code: 'too_many_tasks',
          message:
            'The number of requests in the input file exceeds the maximum allowed value of 100,000. Please split the file and make a batch of each part.',
          param: null,
          line: null,
        },
      ],
      omitted: 0,
    });
  });

  test('and one more are told even beside more bad lines than are shown', async () => {
    const { errors } = await inspect('x\n'.repeat(REQUESTS_MAX + 1));

    expect(errors?.data[0]?.code).toBe('too_many_tasks');
    expect(errors?.data).toHaveLength(BATCH_ERRORS_MAX);
    expect(errors?.omitted).toBe(REQUESTS_MAX + 1 + 1 - BATCH_ERRORS_MAX);
  });
});

describe('images', () => {
  const chat = (content: unknown) =>
    JSON.stringify({
      model: 'gpt-4o',
      messages: [
        { role: 'user', content: 'Hi' },
        { role: 'user', content },
      ],
    });
  const picture = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } };

  test.each([
    ['a part of a message', '"/chat/completions"', chat([{ type: 'text', text: 'What is it?' }, picture])],
    [
      'a part of an input item',
      '"/v1/responses"',
      '{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a/b.png"}]}]}',
    ],
    [
      'the output of a tool',
      '"/responses"',
      '{"model":"gpt-4o","input":[{"type":"function_call_output","output":[{"type":"input_image","file_id":"f"}]}]}',
    ],
  ])('are noted by line when they are %s', async (_, url, text) => {
    const found = await inspect(['', line({ url, body: text }), line({ url, custom_id: '"b"' })].join('\n'));

    expect(found).toMatchObject({ errors: null, imageLines: [2], imageLinesOmitted: 0 });
  });

  test.each([
    ['a text that speaks of them', chat('Write {"type":"image_url"}: "image_url", "input_image"')],
    ['a text part', chat([{ type: 'text', text: '"image_url"' }])],
    [
      'a member of that name',
      '{"model":"gpt-4o","image_url":[{"type":"image_url"}],"messages":[null,7,[{}]]}',
    ],
    [
      'an answer that is to be a picture',
      '{"model":"gpt-4o","messages":[{}],"text":"image_url","tool":"input_image"}',
    ],
  ])('are not seen in %s', async (_, text) => {
    expect(await inspect(line({ body: text }))).toMatchObject({ errors: null, imageLines: [] });
  });

  test('are noted up to as many lines as a batch shows errors, and the others are counted', async () => {
    const lines = Array.from({ length: IMAGE_LINES_MAX + 3 }, (_, index) =>
      line({ custom_id: `"${index}"`, body: chat([picture]) }),
    );

    const { imageLines, imageLinesOmitted } = await inspect(lines.join('\n'));

    expect([imageLines.length, imageLines.at(-1), imageLinesOmitted]).toEqual([
      IMAGE_LINES_MAX,
      IMAGE_LINES_MAX,
      3,
    ]);
  });
});

describe('what batches do not support', () => {
  describe.each(['stream', 'background'])('%s', (name) => {
    const asking = (url: string, value: string) =>
      line({ url: `"${url}"`, body: body(`"model":"gpt-4o","${name}":${value}`) });

    test.each([
      'true',
      '"True"',
      '"true"',
      '"false"',
      '""',
      '1',
      '-1',
      '0.1',
      '1e-400',
      '1e400',
      '[]',
      '[false]',
      '{}',
      '{"include_usage":true}',
    ])('that is %s is refused on every endpoint', async (value) => {
      for (const url of BATCH_ENDPOINTS) {
        expect([url, await faults(asking(url, value))]).toEqual([
          url,
          [[1, 'invalid_request', `body.${name}`]],
        ]);
      }
    });

    test('in escapes is found as well', async () => {
      const escaped = `\\u${name.charCodeAt(0).toString(16).padStart(4, '0')}${name.slice(1)}`;
      const [fault] = await faults(line({ body: body(`"model":"gpt-4o","${escaped}":true`) }));

      expect(fault).toEqual([1, 'invalid_request', `body.${name}`]);
    });

    test('says what was written, or what it is when that is long', async () => {
      expect(await messages(asking('/responses', '"True"'))).toEqual([
        expect.stringContaining(`Line 1: body.${name} is "True", but a batch`),
      ]);
      expect(await messages(asking('/responses', `"${'x'.repeat(99)}"`))).toEqual([
        expect.stringContaining(`Line 1: body.${name} is a string, but a batch`),
      ]);
    });
  });

  test('On Your Data is refused on its line', async () => {
    const asking = body('"model":"gpt-4o","data_sources":[{"type":"azure_search"}]');

    expect(await faults(line({ body: asking }))).toEqual([[1, 'invalid_request', 'body.data_sources']]);
    expect(await messages(line({ body: asking }))).toEqual([expect.stringContaining('On Your Data')]);
    expect(await faults(line({ body: body('"model":"gpt-4o","data_sources":null') }))).toEqual([]);
  });

  test('Assistants are refused by name', async () => {
    expect(await messages(line({ url: '"/v1/threads/runs"' }))).toEqual([
      expect.stringContaining('the Assistants API, which batches do not support'),
    ]);
  });
});

describe('segments', () => {
  test('cover every request once, in order, within their limits, whatever lies between', async () => {
    const piece = fc.oneof(
      { weight: 6, arbitrary: fc.constant('line') },
      { weight: 1, arbitrary: fc.constantFrom('\n', ' \r\n') },
      { weight: 1, arbitrary: fc.constant('large') },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { minLength: 1, maxLength: 400 }),
        fc.constantFrom('\n', '\r\n'),
        fc.boolean(),
        async (pieces, end, marked) => {
          let id = 0;
          const padding = `"${'x'.repeat(300_000)}"`;
          const texts = [...pieces, 'line'].map((kind) =>
            kind === 'line' || kind === 'large'
              ? `${line({ custom_id: `"${id++}"`, ...(kind === 'large' && { note: padding }) })}${end}`
              : kind,
          );
          const file = Buffer.from(`${marked ? '\ufeff' : ''}${texts.join('')}`);
          const { segments, requests } = await inspectInput([file]);

          let seen = 0;
          let byteEnd = 0;
          for (const segment of segments) {
            const bytes = file.subarray(segment.byteStart, segment.byteStart + segment.byteLength).toString();
            const ids = [...bytes.matchAll(/"custom_id":"(\d+)"/g)].map(([, found]) => Number(found));
            expect(ids).toEqual(Array.from({ length: segment.requests }, (_, index) => seen + index));
            expect(bytes.startsWith('{') && bytes.endsWith(`}${end}`)).toBe(true);
            expect(segment.firstLine).toBe(file.subarray(0, segment.byteStart).toString().split('\n').length);
            expect(segment.requests).toBeLessThanOrEqual(SEGMENT_REQUESTS_MAX);
            expect(segment.requests === 1 || segment.byteLength <= SEGMENT_BYTES_MAX).toBe(true);
            expect(segment.byteStart).toBeGreaterThanOrEqual(byteEnd);
            byteEnd = segment.byteStart + segment.byteLength;
            seen += segment.requests;
          }
          expect([seen, requests]).toEqual([id, id]);
        },
      ),
      { numRuns: 25 },
    );
  });

  test('are full before the next begins', async () => {
    const { segments } = await inspect(
      Array.from({ length: 130 }, (_, index) => `${withId(index)}\n`).join(''),
    );

    expect(segments.map(({ requests, firstLine }) => [firstLine, requests])).toEqual([
      [1, 64],
      [65, 64],
      [129, 2],
    ]);
  });

  test('hold a larger line alone', async () => {
    const large = line({ custom_id: '"large"', note: `"${'x'.repeat(SEGMENT_BYTES_MAX)}"` });
    const { segments } = await inspect([withId(1), large, withId(2), withId(3)].join('\n'));

    expect(segments.map(({ requests, firstLine }) => [firstLine, requests])).toEqual([
      [1, 1],
      [2, 1],
      [3, 2],
    ]);
  });
});
