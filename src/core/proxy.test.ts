import { describe, expect, test } from 'vitest';
import { proxiesOf, ProxyError } from './proxy.ts';

const through = (env: Record<string, string>, url: string): string | null =>
  proxiesOf(env)(new URL(url))?.href ?? null;

test('each scheme has its variable, in either case, and the lower one goes first', () => {
  const env = { HTTP_PROXY: 'http://a:1', HTTPS_PROXY: 'b:2', http_proxy: 'http://c:3' };

  expect(through(env, 'http://model/v1')).toBe('http://c:3/');
  expect(through(env, 'https://model/v1')).toBe('http://b:2/');
  expect(through({ HTTP_PROXY: 'http://a:1' }, 'https://model/v1')).toBeNull();
  expect(through({ HTTP_PROXY: 'http://a:1', http_proxy: '' }, 'http://model')).toBe('http://a:1/');
  expect(through({}, 'http://model')).toBeNull();
});

test('this machine itself is never asked through a proxy', () => {
  const env = { HTTP_PROXY: 'http://p:1' };

  for (const host of ['localhost', 'x.localhost', '127.0.0.1', '127.1.2.3', '[::1]'])
    expect([host, through(env, `http://${host}:8000/v1`)]).toEqual([host, null]);
});

describe('NO_PROXY', () => {
  test.each([
    ['*', 'http://model/v1', true],
    ['model', 'http://model/v1', true],
    ['MODEL', 'http://model/v1', true],
    ['example.com', 'http://api.example.com/v1', true],
    ['.example.com', 'http://api.example.com/v1', true],
    ['*.example.com', 'http://api.example.com/v1', true],
    ['ample.com', 'http://api.example.com/v1', false],
    ['other, model other', 'http://model/v1', true],
    ['model:8000', 'http://model:8000/v1', true],
    ['model:8000', 'http://model/v1', false],
    ['model:80', 'http://model/v1', true],
    ['10.0.0.7', 'http://10.0.0.7/v1', true],
    ['10.0.0.0/8', 'http://10.1.2.3/v1', true],
    ['10.0.0.0/8', 'http://11.1.2.3/v1', false],
    ['fd00::/8', 'http://[fd00::7]/v1', true],
    ['fd00::7', 'http://[fd00::7]:80/v1', true],
    ['0.7', 'http://10.0.0.7/v1', false],
    ['10.0.0.0/x', 'http://10.1.2.3/v1', false],
    ['', 'http://model/v1', false],
  ])('%j and %s: asked directly %s', (list, url, direct) => {
    expect(through({ HTTP_PROXY: 'http://p:1', NO_PROXY: list }, url) === null).toBe(direct);
  });
});

test.each(['socks5://p:1', 'http://', 'http://user:s3cret@/', 'not a proxy'])(
  'the variable that holds %j is named, and its value is not repeated',
  (value) => {
    const read = () => proxiesOf({ HTTPS_PROXY: value });

    expect(read).toThrow(ProxyError);
    expect(read).toThrow(/^HTTPS_PROXY is no proxy/);
    expect(read).not.toThrow(/s3cret/);
  },
);
