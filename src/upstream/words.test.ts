import { expect, test } from 'vitest';
import { describeError } from './words.ts';

const coded = (code: string, message = 'm'): Error => Object.assign(new Error(message), { code });

test.each([
  [coded('ECONNREFUSED'), 'nothing listens there (connection refused)'],
  [
    new AggregateError([coded('ECONNREFUSED'), coded('ENETUNREACH')]),
    'nothing listens there (connection refused)',
  ],
  [coded('ENOTFOUND'), 'its name cannot be resolved (host h)'],
  [coded('EAI_AGAIN'), 'its name cannot be resolved (host h)'],
  [coded('EHOSTUNREACH'), 'there is no way to it from here (host h)'],
  [coded('UND_ERR_CONNECT_TIMEOUT'), 'no connection could be made in time (host h)'],
  [coded('UND_ERR_SOCKET', 'other side closed'), 'the connection was closed before an answer came'],
  [coded('CERT_HAS_EXPIRED'), 'its certificate has expired'],
  [coded('ERR_TLS_CERT_ALTNAME_INVALID'), 'its certificate is for another name than h'],
  [
    coded('UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unable to verify the first certificate; try x'),
    'its certificate is not trusted (unable to verify the first certificate): set NODE_EXTRA_CA_CERTS or caFile',
  ],
  [
    coded('ERR_SSL_WRONG_VERSION_NUMBER', 'wrong version number'),
    'it does not speak TLS, and the address says https',
  ],
  [coded('ERR_SSL_TLSV1_ALERT', 'alert'), 'the TLS handshake failed (ERR_SSL_TLSV1_ALERT)'],
  [coded('EWHATEVER', 'it broke'), 'it broke (EWHATEVER)'],
])('%s is told in words', (error, words) => {
  expect(describeError(error, { host: 'h', begun: false })).toBe(words);
});

test('a connection that is closed in the middle of an answer is told so', () => {
  expect(describeError(coded('ECONNRESET'), { host: 'h', begun: true })).toBe(
    'the connection was closed in the middle of its answer',
  );
});
