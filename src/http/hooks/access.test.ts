import { expect, test } from 'vitest';
import { presentedCredential } from './access.ts';

const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln';

test.each([
  [{ 'api-key': 'k' }, { kind: 'key', value: 'k' }],
  [{ authorization: 'Bearer k' }, { kind: 'key', value: 'k' }],
  [{ authorization: 'bearer   k' }, { kind: 'key', value: 'k' }],
  [
    { 'api-key': 'k', authorization: 'Bearer other' },
    { kind: 'key', value: 'k' },
  ],
  [
    { 'api-key': '', authorization: 'Bearer other' },
    { kind: 'key', value: 'other' },
  ],
  [{ authorization: `Bearer ${JWT}` }, { kind: 'token', value: JWT }],
  [{ authorization: 'Bearer eyJ.eyJ' }, { kind: 'key', value: 'eyJ.eyJ' }],
  // A token where a key belongs is a wrong key.
  [{ 'api-key': JWT }, { kind: 'key', value: JWT }],
  [{ authorization: 'Bearer' }, { kind: 'none' }],
  [{ authorization: 'Bearer a b' }, { kind: 'none' }],
  [{ authorization: 'Basic k' }, { kind: 'none' }],
  [{ 'api-key': '' }, { kind: 'none' }],
  [{}, { kind: 'none' }],
])('%j presents %j', (headers, credential) => {
  expect(presentedCredential(headers)).toEqual(credential);
});
