/** Uploads in parts: start, add parts, complete or cancel. Source: docs/contract.md §1. */
import { PART_TOO_LARGE } from '../../batch/upload/in-parts.ts';
import { PART_BYTES_MAX } from '../../contract/upload.ts';
import { WireUpload, WireUploadPart } from '../../contract/wire.ts';
import { fileExpiry } from '../wire/expiry.ts';
import { announcedFile, FormFields, receiveForm } from '../files/multipart.ts';
import { renderPart, renderUpload } from '../wire/render.ts';
import { ById, CompleteUploadBody, PartForm, StartUploadBody } from '../wire/schemas.ts';
import type { HttpDeps, Routes } from '../deps.ts';
import { DATA_PLANE } from '../address/router-paths.ts';

type Uploads = HttpDeps['uploader']['inParts'];
const config = { action: 'accounts/OpenAI/files/write' } as const;

export function partUploadRoutes(
  app: Routes,
  { inParts: uploads }: Pick<HttpDeps['uploader'], 'inParts'>,
): void {
  app.post(
    `${DATA_PLANE}/uploads`,
    {
      config,
      schema: {
        summary: 'Start an upload in parts',
        body: StartUploadBody,
        response: { 200: WireUpload },
      },
    },
    async (request, reply) => {
      const { surface } = request.target;
      const { dialect } = surface;
      const { filename, bytes, purpose, expires_after: expiry } = request.body;
      const upload = await uploads.start(request.principal.scope, {
        filename,
        purpose,
        bytes,
        expiresAfterS: fileExpiry(surface, expiry),
        dialect,
      });
      reply.header('location', `${surface.root}/uploads/${upload.id}${surface.query}`);
      return renderUpload(upload);
    },
  );

  partRoute(app, uploads);
  endRoutes(app, uploads);
}

function partRoute(app: Routes, uploads: Uploads): void {
  app.post(
    `${DATA_PLANE}/uploads/:id/parts`,
    {
      onRequest: announcedFile({
        parts: 'the part data',
        param: 'data',
        bytesMax: PART_BYTES_MAX,
        tooLarge: PART_TOO_LARGE,
      }),
      // The form is read as a stream. Its schema is for the documentation.
      validatorCompiler:
        ({ httpPart }) =>
        (value) =>
          httpPart === 'body' ? true : { value },
      config,
      schema: {
        summary: 'Add a part to an upload',
        consumes: ['multipart/form-data'],
        params: ById,
        body: PartForm,
        response: { 200: WireUploadPart },
      },
    },
    async (request) => {
      const { scope } = request.principal;
      const part = await receiveForm(request, {
        fileField: 'data',
        fields: new FormFields(),
        store: ({ chunks }) => uploads.addPart(scope, request.params.id, chunks),
      });
      return renderPart(part, request.target.surface.dialect);
    },
  );
}

function endRoutes(app: Routes, uploads: Uploads): void {
  app.post(
    `${DATA_PLANE}/uploads/:id/complete`,
    {
      config,
      schema: {
        summary: 'Complete an upload to a file',
        params: ById,
        body: CompleteUploadBody,
        response: { 200: WireUpload },
      },
    },
    async (request) => {
      const { part_ids: partIds, md5 = null } = request.body;
      const { upload, file } = await uploads.complete(request.principal.scope, request.params.id, {
        partIds,
        md5,
      });
      return renderUpload(upload, file);
    },
  );

  app.post(
    `${DATA_PLANE}/uploads/:id/cancel`,
    {
      config,
      schema: { summary: 'Cancel an upload', params: ById, response: { 200: WireUpload } },
    },
    async (request) => renderUpload(await uploads.cancel(request.principal.scope, request.params.id)),
  );
}
