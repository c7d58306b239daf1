/** The bytes of files: whole, in ranges, or what a running batch has so far. */
import type { FastifyReply } from 'fastify';
import { isTerminal, type Batch } from '../../contract/batch.ts';
import { ApiError } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import { BlobNotFound, BlobStoreError } from '../../stores/blobs/port.ts';
import { downloadHeaders, sendBytes, sendFile, type Http } from '../files/content.ts';
import { fileNotFound, findBatch, findFile } from './lookup.ts';
import { certainPart, recordedResults } from '../files/partial-results.ts';
import { ById, Content, ContentQuery } from '../wire/schemas.ts';
import type { HttpDeps, Routes } from '../deps.ts';
import { DATA_PLANE } from '../address/router-paths.ts';

type Deps = Pick<HttpDeps, 'state' | 'blobs' | 'log'>;

export function contentRoutes(app: Routes, deps: Deps): void {
  const { state } = deps;
  const response = { 200: { content: { 'application/octet-stream': { schema: Content } } } };

  app.get(
    `${DATA_PLANE}/files/:id/content`,
    {
      config: { action: 'accounts/OpenAI/files/read' },
      schema: {
        summary: 'Read a file',
        description:
          'A produced file can be read while its batch runs. The answer is what the finished file is certain to ' +
          'start with. `X-Incomplete` says whether more will come, and `X-Last-Line` how many lines there are so ' +
          'far. Continue with `offset`.',
        params: ById,
        querystring: ContentQuery,
        response,
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const found = await findContent(deps, request.principal.scope, id);
      const skipLines = request.query.offset;
      if ('file' in found) return sendWhole({ request, reply }, { deps, ...found, skipLines });
      if (isTerminal(found.batch.status)) return sendNothing(reply, id);
      return sendCertain({ request, reply }, { deps, batch: found.batch, id, skipLines });
    },
  );

  for (const [name, ok] of [
    ['output', true],
    ['errors', false],
  ] as const)
    app.get(
      `${DATA_PLANE}/batches/:id/${name}`,
      {
        config: { action: 'accounts/OpenAI/files/read' },
        schema: {
          summary: ok ? 'Read the results so far' : 'Read the failures so far',
          description:
            'Every line recorded so far, in input order. After the batch has ended, the whole file.',
          params: ById,
          response,
        },
      },
      async (request, reply) => {
        const batch = await findBatch(state, request.principal.scope, request.params.id);
        return sendRecorded({ request, reply }, { deps, batch, ok });
      },
    );
}

/** A file, and its batch when one produced it. Or the batch alone: it still makes the file, or left it out as empty. */
type Found = { readonly file: FileRow; readonly batch?: Batch } | { readonly batch: Batch };

async function findContent({ state }: Deps, scope: Scope, id: string): Promise<Found> {
  const file = await state.files.get(scope, id);
  if (file !== undefined && file.purpose !== 'batch_output') return { file };
  const batch = await state.batches.findByProducedFile(scope, id);
  if (file !== undefined) return batch === undefined ? { file } : { file, batch };
  if (batch === undefined) throw fileNotFound(id);
  if (!isTerminal(batch.status) || isLeftOut(batch, id === batch.outputFileId)) return { batch };
  // The batch may have published since the file was looked for.
  return { file: await findFile(state, scope, id), batch };
}

async function sendWhole(
  { request, reply }: Http,
  { deps, file, batch, skipLines }: { deps: Deps; file: FileRow; batch?: Batch; skipLines: number },
): Promise<FastifyReply> {
  await checkWhole(deps, file);
  if (batch !== undefined) {
    const { completed, failed } = batch.counts;
    reply.header('x-last-line', file.id === batch.outputFileId ? completed : failed);
  }
  reply.header('x-incomplete', 'false');
  return sendFile({ request, reply }, { blobs: deps.blobs, file, skipLines });
}

/** Invariant: exactly the stored bytes are sent, or none. Otherwise a client takes damaged results for whole ones. */
async function checkWhole({ state, blobs, log }: Deps, file: FileRow): Promise<void> {
  const { id, resourceId, blobId, bytes, sha256 } = file;
  try {
    await blobs.check({ id: blobId, bytes, sha256 });
  } catch (error) {
    const isDamaged = error instanceof BlobStoreError && error.reason === 'damaged';
    if (!isDamaged && !(error instanceof BlobNotFound)) throw error;
    // The file may have been deleted just now.
    await findFile(state, { resourceId, actor: 'http' }, id);
    log.event('file.damaged', { file: id, resource: resourceId, reason: error.message });
    const what = isDamaged
      ? 'The bytes of the file are not those that were stored'
      : 'The bytes of the file are not there';
    const message = `${what}: '${id}' is damaged on the disk of the service. Its operator can restore it from a backup; the log has the path.`;
    throw new ApiError('fileDamaged', message, { param: 'id', cause: error });
  }
}

async function sendCertain(
  { request, reply }: Http,
  { deps, batch, id, skipLines }: { deps: Deps; batch: Batch; id: string; skipLines: number },
): Promise<FastifyReply> {
  const certain = await certainPart({ ...deps, batch, ok: id === batch.outputFileId });
  reply.header('x-incomplete', 'true').header('x-last-line', certain.lines);
  return sendLines({ request, reply }, id, () => certain.read(skipLines));
}

async function sendRecorded(
  { request, reply }: Http,
  { deps, batch, ok }: { deps: Deps; batch: Batch; ok: boolean },
): Promise<FastifyReply> {
  const id = ok ? batch.outputFileId : batch.errorFileId;
  const ended = isTerminal(batch.status);
  reply.header('x-incomplete', String(!ended));
  if (!ended) return sendLines({ request, reply }, id, () => recordedResults({ ...deps, batch, ok }));
  const file = await deps.state.files.get(request.principal.scope, id);
  if (file !== undefined) await checkWhole(deps, file);
  if (file !== undefined) return sendFile({ request, reply }, { blobs: deps.blobs, file, skipLines: 0 });
  const isEmpty = batch.status === 'failed' || batch.counts.total === 0 || isLeftOut(batch, ok);
  if (isEmpty) return sendNothing(reply, id);
  throw new ApiError('fileNotFound', `The file '${id}' of this batch was deleted.`, { param: 'id' });
}

/** A batch of OpenAI's dialect has no file without lines. */
const isLeftOut = ({ dialect, counts }: Batch, ok: boolean): boolean =>
  dialect === 'openai' && counts.total > 0 && (ok ? counts.completed : counts.failed) === 0;

const sendNothing = (reply: FastifyReply, id: string): FastifyReply =>
  downloadHeaders(reply.header('x-incomplete', 'false').header('x-last-line', 0), `${id}.jsonl`).send(
    Buffer.alloc(0),
  );

function sendLines(http: Http, id: string, read: () => AsyncIterable<Uint8Array>): FastifyReply {
  downloadHeaders(http.reply, `${id}.jsonl`);
  return sendBytes(http, read);
}
