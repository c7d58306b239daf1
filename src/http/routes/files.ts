import type { FastifyInstance } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { isTerminal, type Batch } from '../../contract/batch.ts';
import { ApiError } from '../../contract/error.ts';
import type { FileRow } from '../../contract/file.ts';
import type { Scope } from '../../contract/scope.ts';
import { WireFile, WireFileDeleted, WireFileList } from '../../contract/wire.ts';
import { downloadHeaders, sendFile } from '../content.ts';
import { parseExpiresAfter } from '../expiry.ts';
import { certainPart } from '../partial-results.ts';
import { renderFile } from '../render.ts';
import { ById, ContentQuery, ImportFileBody, ListFilesQuery } from '../schemas.ts';
import type { HttpDeps } from '../server.ts';
import { WIRE, type Surface } from '../surface.ts';
import { checkPurpose, receiveUpload } from '../upload-form.ts';

type Deps = Pick<HttpDeps, 'state' | 'blobs' | 'uploader' | 'importer'>;

export function fileRoutes(server: FastifyInstance, deps: Deps): void {
  const app = server.withTypeProvider<ZodTypeProvider>();
  const { state, blobs, uploader, importer } = deps;
  const tags = ['files'];

  app.post(
    `${WIRE}/files`,
    {
      schema: {
        tags,
        summary: 'Upload a file',
        consumes: ['multipart/form-data'],
        response: { 201: WireFile },
      },
    },
    async (request, reply) => {
      const { surface } = request.target;
      const { scope } = request.principal;
      const file = await receiveUpload(request, surface, (upload) => uploader.uploadFile(scope, upload));
      reply.code(surface.uploadStatus as 201).header('location', locationOf(surface, file));
      return renderFile(file);
    },
  );

  app.post(
    `${WIRE}/files/import`,
    {
      schema: {
        tags,
        summary: 'Import a file from a URL',
        body: ImportFileBody,
        response: { 201: WireFile },
      },
    },
    async (request, reply) => {
      const { surface } = request.target;
      const { purpose, filename, content_url: contentUrl, expires_after: expiresAfter } = request.body;
      checkPurpose(purpose);
      const { dialect } = surface;
      const file = await importer.importFile(request.principal.scope, {
        purpose: 'batch',
        filename,
        contentUrl,
        dialect,
        expiresAfterS: surface.fileExpiry
          ? parseExpiresAfter(expiresAfter ?? {}, { dialect, param: 'expires_after' })
          : null,
      });
      reply.code(surface.uploadStatus as 201).header('location', locationOf(surface, file));
      return renderFile(file);
    },
  );

  app.get(
    `${WIRE}/files`,
    { schema: { tags, summary: 'List files', querystring: ListFilesQuery, response: { 200: WireFileList } } },
    async (request) => {
      const page = await state.files.list(request.principal.scope, request.query);
      if (page === 'unknown_after') throw unknownAfter(request.query.after);
      const data = page.files.map(renderFile);
      return {
        object: 'list' as const,
        data,
        first_id: data.at(0)?.id ?? null,
        last_id: data.at(-1)?.id ?? null,
        has_more: page.hasMore && data.length > 0,
      };
    },
  );

  app.get(
    `${WIRE}/files/:id`,
    { schema: { tags, summary: 'Get a file', params: ById, response: { 200: WireFile } } },
    async (request) => renderFile(await findFile(request.principal.scope, request.params.id)),
  );

  app.delete(
    `${WIRE}/files/:id`,
    { schema: { tags, summary: 'Delete a file', params: ById, response: { 200: WireFileDeleted } } },
    async (request) => {
      const { id } = request.params;
      if (!(await uploader.deleteFile(request.principal.scope, id))) throw fileNotFound(id);
      return { object: 'file' as const, id, deleted: true as const };
    },
  );

  app.get(
    `${WIRE}/files/:id/content`,
    {
      schema: {
        tags,
        summary: 'Read a file',
        description:
          'A produced file can be read while its batch runs: the answer is what the finished file is certain to start ' +
          'with. `X-Incomplete` tells whether more will come, `X-Last-Line` how many lines there are so far; go on ' +
          'with `offset`.',
        params: ById,
        querystring: ContentQuery,
        produces: ['application/octet-stream'],
        response: { 200: z.string().meta({ format: 'binary' }) },
      },
    },
    async (request, reply) => {
      const { scope } = request.principal;
      const { id } = request.params;
      const skipLines = request.query.offset;
      const { file, batch } = await findContent(scope, id);
      if (file !== undefined) {
        if (batch !== undefined)
          reply.header(
            'x-last-line',
            id === batch.outputFileId ? batch.counts.completed : batch.counts.failed,
          );
        reply.header('x-incomplete', 'false');
        return sendFile({ request, reply }, { blobs, file, skipLines });
      }
      if (batch === undefined) throw fileNotFound(id);
      const certain = await certainPart({ state, blobs, batch, ok: id === batch.outputFileId });
      reply.header('x-incomplete', 'true').header('x-last-line', certain.lines);
      downloadHeaders(reply, `${id}.jsonl`);
      return reply.send(Readable.from(certain.read(skipLines), { objectMode: false }));
    },
  );

  /** A file, its batch when it was produced by one; or only the batch that is still making it. */
  async function findContent(scope: Scope, id: string): Promise<{ file?: FileRow; batch?: Batch }> {
    const file = await state.files.get(scope, id);
    if (file !== undefined && file.purpose !== 'batch_output') return { file };
    const batch = await state.batches.findByProducedFile(scope, id);
    if (batch === undefined) return file === undefined ? {} : { file };
    if (file !== undefined) return { file, batch };
    if (!isTerminal(batch.status)) return { batch };
    // Published since the first look, or deleted, or never made.
    return { file: await findFile(scope, id), batch };
  }

  async function findFile(scope: Scope, id: string): Promise<FileRow> {
    const file = await state.files.get(scope, id);
    if (file === undefined) throw fileNotFound(id);
    return file;
  }
}

const locationOf = (surface: Surface, file: FileRow): string =>
  `${surface.root}/files/${file.id}${surface.query}`;

const fileNotFound = (id: string): ApiError =>
  new ApiError('fileNotFound', `No file with the id '${id}' exists in this resource.`, { param: 'id' });

const unknownAfter = (after: string | undefined): ApiError =>
  new ApiError(
    'invalidValue',
    `Invalid value for 'after': no file with the id '${after}' exists in this resource.`,
    {
      param: 'after',
    },
  );
