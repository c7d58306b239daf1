/** The official clients with tokens of an Entra tenant, from the upload to the output. */
import { AuthenticationError, NotFoundError, toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lines, RESOURCE_A, RESOURCE_B, startService, type Service } from '../contract/harness.ts';
import { ISSUER_V2, startEntra, type Entra } from '../support/entra.ts';
import { CLIENTS } from './clients.ts';

const CONTRIBUTOR = 'aaaaaaaa-0000-4000-8000-000000000001';
const USER = 'aaaaaaaa-0000-4000-8000-000000000002';
const APP_ID = 'bbbbbbbb-0000-4000-8000-000000000001';

let entra: Entra;
let service: Service;
beforeAll(async () => {
  entra = await startEntra();
  service = await startService({
    identity: {
      tokens: {
        ...entra.config,
        audiences: ['https://cognitiveservices.azure.com', 'https://ai.azure.com', APP_ID],
      },
      roleAssignments: [
        ...[RESOURCE_A, RESOURCE_B].map((resource) => ({
          role: 'Cognitive Services OpenAI Contributor' as const,
          resource,
          oid: CONTRIBUTOR,
        })),
        { role: 'Cognitive Services OpenAI User', resource: RESOURCE_A, oid: USER },
      ],
    },
  });
});
afterAll(async () => {
  await service.close();
  await entra.close();
});

describe.each(CLIENTS.filter(({ isAzure }) => isAzure))('$name', ({ create: createAt }) => {
  const create = (token: () => Promise<string>, at = '') => createAt(`${service.url}${at}`, token);

  test.each([
    ['of the older form, plainly addressed', {}, ''],
    ['of the newer form, at a resource by its path', { iss: ISSUER_V2, aud: APP_ID }, `/${RESOURCE_B}`],
    ['for Foundry', { aud: 'https://ai.azure.com' }, ''],
  ])('runs a batch with tokens %s', async (_name, claims, at) => {
    const client = create(() => entra.token({ oid: CONTRIBUTOR, ...claims }), at);

    const file = await client.files.create({
      file: await toFile(Buffer.from(lines(3)), 'test.jsonl'),
      purpose: 'batch',
    });
    let batch = await client.batches.create({
      input_file_id: file.id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
    });
    while (!['completed', 'failed', 'cancelled', 'expired'].includes(batch.status)) {
      await service.deps.clock.sleep(20);
      batch = await client.batches.retrieve(batch.id);
    }
    const output = await (await client.files.content(batch.output_file_id ?? '')).text();

    expect(batch.status).toBe('completed');
    expect(output.trim().split('\n')).toHaveLength(3);
    await client.files.delete(file.id);
    await expect(client.files.retrieve(file.id)).rejects.toThrow(NotFoundError);
  });

  test('goes on with a new token when the old one has expired', async () => {
    const tokens = [
      entra.token({ oid: USER }),
      entra.token({ oid: USER, exp: 1 }),
      entra.token({ oid: USER }),
    ];
    const client = create(async () => tokens.shift() ?? '');

    await client.files.list();
    await expect(client.files.list()).rejects.toThrow(AuthenticationError);
    await client.files.list();
  });

  test('is told what its principal lacks', async () => {
    const error = await create(() => entra.token({ oid: USER }))
      .files.delete('file-x')
      .catch((cause: unknown) => cause);

    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toMatchObject({ status: 401, code: 'PermissionDenied' });
    expect((error as AuthenticationError).message).toContain(
      `The principal \`${USER}\` lacks the required data action \`Microsoft.CognitiveServices/accounts/OpenAI/files/delete\``,
    );
  });
});
