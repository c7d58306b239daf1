import { fileTooLarge } from '../../batch/upload/upload.ts';
import { INPUT_BYTES_MAX } from '../../contract/batch.ts';
import type { FileRow } from '../../contract/file.ts';
import { WireFile } from '../../contract/wire.ts';
import { fileExpiry } from '../wire/expiry.ts';
import { announcedFile } from '../files/multipart.ts';
import { renderFile } from '../wire/render.ts';
import { ImportFileBody, UploadForm } from '../wire/schemas.ts';
import type { HttpDeps, Routes } from '../deps.ts';
import { DATA_PLANE } from '../address/router-paths.ts';
import type { Surface } from '../address/surface.ts';
import { receiveUpload } from '../files/upload-form.ts';

export function uploadRoutes(
  app: Routes,
  { uploader, importer }: Pick<HttpDeps, 'uploader' | 'importer'>,
): void {
  const response = { 200: WireFile, 201: WireFile };

  app.post(
    `${DATA_PLANE}/files`,
    {
      // The form is read as a stream. Its schema is for the documentation.
      validatorCompiler: () => () => true,
      onRequest: announcedFile({
        parts: 'the parts purpose and file',
        param: 'file',
        bytesMax: INPUT_BYTES_MAX,
        tooLarge: fileTooLarge(INPUT_BYTES_MAX),
      }),
      config: { action: 'accounts/OpenAI/files/write' },
      schema: {
        summary: 'Upload a file',
        consumes: ['multipart/form-data'],
        body: UploadForm,
        response,
      },
    },
    async (request, reply) => {
      const { surface } = request.target;
      const { scope } = request.principal;
      const file = await receiveUpload(request, surface, (upload) => uploader.uploadFile(scope, upload));
      reply.code(surface.uploadStatus).header('location', locationOf(surface, file));
      return renderFile(file);
    },
  );

  app.post(
    `${DATA_PLANE}/files/import`,
    {
      config: { action: 'accounts/OpenAI/files/write' },
      schema: { summary: 'Import a file from a URL', body: ImportFileBody, response },
    },
    async (request, reply) => {
      const { surface } = request.target;
      const { dialect } = surface;
      const { filename, content_url: contentUrl, expires_after: expiry } = request.body;
      const file = await importer.importFile(request.principal.scope, {
        purpose: 'batch',
        filename,
        contentUrl,
        dialect,
        expiresAfterS: fileExpiry(surface, expiry),
      });
      reply.code(surface.uploadStatus).header('location', locationOf(surface, file));
      return renderFile(file);
    },
  );
}

const locationOf = (surface: Surface, file: FileRow): string =>
  `${surface.root}/files/${file.id}${surface.query}`;
