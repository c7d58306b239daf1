import { WireFile, WireFileDeleted, WireFileList } from '../../contract/wire.ts';
import { fileNotFound, findFile, toPage, unknownAfter } from './lookup.ts';
import { renderFile } from '../wire/render.ts';
import { ById, ListFilesQuery } from '../wire/schemas.ts';
import type { HttpDeps, Routes } from '../deps.ts';
import { DATA_PLANE } from '../address/router-paths.ts';

export function fileRoutes(app: Routes, { state, uploader }: Pick<HttpDeps, 'state' | 'uploader'>): void {
  app.get(
    `${DATA_PLANE}/files`,
    {
      config: { action: 'accounts/OpenAI/files/read' },
      schema: { summary: 'List files', querystring: ListFilesQuery, response: { 200: WireFileList } },
    },
    async (request) => {
      const page = await state.files.list(request.principal.scope, request.query);
      if (page === 'unknown_after') throw unknownAfter('file', request.query.after);
      return toPage(page.files.map(renderFile), page.hasMore);
    },
  );

  app.get(
    `${DATA_PLANE}/files/:id`,
    {
      config: { action: 'accounts/OpenAI/files/read' },
      schema: { summary: 'Get a file', params: ById, response: { 200: WireFile } },
    },
    async (request) => renderFile(await findFile(state, request.principal.scope, request.params.id)),
  );

  app.delete(
    `${DATA_PLANE}/files/:id`,
    {
      config: { action: 'accounts/OpenAI/files/delete' },
      schema: { summary: 'Delete a file', params: ById, response: { 200: WireFileDeleted } },
    },
    async (request) => {
      const { id } = request.params;
      if (!(await uploader.deleteFile(request.principal.scope, id))) throw fileNotFound(id);
      return { object: 'file' as const, id, deleted: true as const };
    },
  );
}
