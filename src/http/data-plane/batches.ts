import type { FastifyReply, FastifyRequest } from 'fastify';
import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { TokenLimitExceeded, type CreateRequest, type TokenFigures } from '../../batch/admission/create.ts';
import { isTerminal, type Batch } from '../../contract/batch.ts';
import { ApiError } from '../../contract/error.ts';
import { WireBatch, WireBatchList } from '../../contract/wire.ts';
import { nowS } from '../../core/clock.ts';
import type { BatchQuery } from '../../stores/state/ports.ts';
import { flattened, parseExpiresAfter } from '../wire/expiry.ts';
import { parseFilter, parseOrderBy } from '../wire/filter.ts';
import { batchNotFound, findBatch, toPage, unknownAfter } from './lookup.ts';
import { renderBatch } from '../wire/render.ts';
import { ById, CreateBatchBody, CreateBatchHeaders, ListBatchesQuery } from '../wire/schemas.ts';
import type { HttpDeps, Routes } from '../deps.ts';
import { DATA_PLANE } from '../address/router-paths.ts';
import type { Surface } from '../address/surface.ts';

type Deps = Pick<HttpDeps, 'state' | 'engine' | 'clock'>;

export function batchRoutes(app: Routes, deps: Deps): void {
  const { state, engine } = deps;

  app.post(
    `${DATA_PLANE}/batches`,
    {
      config: { action: 'accounts/OpenAI/batch-jobs/write' },
      schema: {
        summary: 'Create a batch',
        headers: CreateBatchHeaders,
        body: CreateBatchBody,
        response: { 200: WireBatch, 201: WireBatch },
      },
    },
    async (request, reply) => {
      const { surface } = request.target;
      const wanted = toCreateRequest(request.body, request.headers, surface);
      const idempotency = idempotencyOf(request, wanted);
      const created = await engine
        .createBatch(request.principal.scope, { ...wanted, ...idempotency })
        .catch((error: unknown) => {
          if (error instanceof TokenLimitExceeded) tokenHeaders(reply, error.tokens, surface);
          throw error;
        });
      reply.code(surface.createStatus);
      reply.header('location', `${surface.root}/batches/${created.batch.id}${surface.query}`);
      tokenHeaders(reply, created.tokens, surface);
      return render(deps, created.batch, surface);
    },
  );

  app.get(
    `${DATA_PLANE}/batches`,
    {
      config: { action: 'accounts/OpenAI/batches/read' },
      schema: {
        summary: 'List batches',
        querystring: ListBatchesQuery,
        response: { 200: WireBatchList },
      },
    },
    async (request) => {
      const { surface } = request.target;
      const page = await state.batches.list(request.principal.scope, toQuery(request.query, surface));
      if (page === 'unknown_after') throw unknownAfter('batch', request.query.after);
      const data = page.batches.map((batch) => render(deps, batch, surface));
      return toPage(data, page.hasMore);
    },
  );

  app.get(
    `${DATA_PLANE}/batches/:id`,
    {
      config: { action: 'accounts/OpenAI/batches/read' },
      schema: { summary: 'Get a batch', params: ById, response: { 200: WireBatch } },
    },
    async (request) =>
      render(
        deps,
        await findBatch(state, request.principal.scope, request.params.id),
        request.target.surface,
      ),
  );

  cancelRoutes(app, deps);
}

const render = ({ engine }: Pick<Deps, 'engine'>, batch: Batch, { dialect }: Surface): WireBatch =>
  renderBatch(batch, { dialect, live: engine.progress(batch) });

function tokenHeaders(reply: FastifyReply, tokens: TokenFigures | null, surface: Surface): void {
  if (tokens === null || !surface.tokenHeaders) return;
  reply
    .header('deployment-enqueued-tokens', tokens.enqueuedTokens)
    .header('deployment-maximum-enqueued-tokens', tokens.enqueuedTokensMax);
}

function cancelRoutes(app: Routes, deps: Deps): void {
  const cancel = async (request: FastifyRequest, id: string): Promise<WireBatch> => {
    const batch = await deps.state.batches.cancel(request.principal.scope, id, nowS(deps.clock));
    if (batch === undefined) throw batchNotFound(id);
    const isOpenai = request.target.surface.dialect === 'openai';
    if (isOpenai && batch.status === 'cancelled') return render(deps, batch, request.target.surface);
    if (isTerminal(batch.status)) {
      const message = `Cannot cancel a batch with status '${batch.status}'.`;
      throw new ApiError('batchNotCancellable', message, { param: 'id', openai: { message, param: null } });
    }
    deps.engine.notify();
    return render(deps, batch, request.target.surface);
  };

  app.post(
    `${DATA_PLANE}/batches/:id/cancel`,
    {
      config: { action: 'accounts/OpenAI/batches/cancel/action' },
      schema: { summary: 'Cancel a batch', params: ById, response: { 200: WireBatch } },
    },
    (request) => cancel(request, request.params.id),
  );
  // The curl line of the original's documentation leaves out `-X POST`. It needs a key all the same.
  app.get(
    `${DATA_PLANE}/batches/:id/cancel`,
    {
      // A HEAD route would cancel too.
      exposeHeadRoute: false,
      config: { action: 'accounts/OpenAI/batches/cancel/action' },
      schema: { hide: true, params: ById },
    },
    (request) => cancel(request, request.params.id),
  );
}

function toCreateRequest(
  body: z.output<typeof CreateBatchBody>,
  headers: z.output<typeof CreateBatchHeaders>,
  surface: Surface,
): CreateRequest {
  if (body.input_blob != null || body.output_folder != null)
    throw new ApiError(
      'invalidPayload',
      'Blob input and output are not available in this version yet. Upload the file and send input_file_id.',
      { param: body.input_blob == null ? 'output_folder' : 'input_blob' },
    );
  if (body.input_file_id == null || body.input_file_id === '')
    throw new ApiError('missingParameter', "Missing required parameter: 'input_file_id'.", {
      param: 'input_file_id',
    });
  const { dialect } = surface;
  const expiry = body.output_expires_after ?? flattened((key) => body[key], 'output_expires_after');
  // A sample of the original's documentation puts the anchor beside the object that should contain it.
  const anchor = expiry.seconds == null ? expiry.anchor : (expiry.anchor ?? body['anchor']);
  return {
    inputFileId: body.input_file_id,
    endpoint: body.endpoint,
    dialect,
    metadata: body.metadata ?? null,
    whenFull: headers['offpeak-queue'],
    outputExpiresAfterS: surface.outputExpiry
      ? parseExpiresAfter({ ...expiry, anchor }, { dialect, param: 'output_expires_after' })
      : null,
  };
}

const IDEMPOTENCY_KEY_CHARS_MAX = 255;

function idempotencyOf(request: FastifyRequest, wanted: CreateRequest): Pick<CreateRequest, 'idempotency'> {
  const key = request.headers['idempotency-key'];
  if (typeof key !== 'string' || key === '') return {};
  if (key.length > IDEMPOTENCY_KEY_CHARS_MAX)
    throw new ApiError(
      'invalidValue',
      `Idempotency-Key is longer than ${IDEMPOTENCY_KEY_CHARS_MAX} characters.`,
      { param: 'Idempotency-Key' },
    );
  // The digest covers what the request means, so spelling and surface make no difference.
  const { inputFileId, endpoint, metadata, outputExpiresAfterS, whenFull } = wanted;
  const body = JSON.stringify([inputFileId, endpoint, metadata, outputExpiresAfterS, whenFull ?? null]);
  return { idempotency: { key, bodyDigest: createHash('sha256').update(body).digest('hex') } };
}

function toQuery(query: z.output<typeof ListBatchesQuery>, surface: Surface): BatchQuery {
  const filter = surface.filters && query.$filter?.trim() ? parseFilter(query.$filter) : undefined;
  const orderBy =
    surface.filters && query.$orderby?.trim()
      ? parseOrderBy(query.$orderby)
      : ({ field: 'created_at', direction: 'desc' } as const);
  return {
    limit: query.limit,
    orderBy,
    ...(query.after !== undefined && { after: query.after }),
    ...(filter !== undefined && { filter }),
  };
}
