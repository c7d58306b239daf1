/** The root, health, the OpenAPI document, and a page that shows it. They need no key. */
import type { FastifyInstance, FastifyReply, RouteHandlerMethod } from 'fastify';
import { readFileSync } from 'node:fs';
import type { PublicPath } from '../address/router-paths.ts';
import { openApiDocument } from './openapi.ts';

const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/** Programs get this at the root. People get a page. */
const ROOT = {
  name: 'Offpeak',
  description: 'The Batch service of Azure OpenAI, self-hosted.',
  docs: '/docs',
  openapi: '/openapi.json',
  health: '/healthz',
  roots: ['/openai/v1', '/v1', '/openai'],
};

const ASSETS = [
  ['/docs', 'index.html', 'text/html; charset=utf-8'],
  ['/docs/page.js', 'page.js', 'text/javascript; charset=utf-8'],
  ['/docs/page.css', 'page.css', 'text/css; charset=utf-8'],
] as const;

export function publicRoutes(app: FastifyInstance, { ready }: { ready: () => boolean }): void {
  const get = (path: PublicPath, handler: RouteHandlerMethod) => app.get(path, { schema: {} }, handler);

  get('/healthz', async (_request, reply) => {
    const isReady = ready();
    reply.code(isReady ? 200 : 503).header('cache-control', 'no-store');
    return { status: isReady ? 'ready' : 'starting' };
  });

  const page = asset('root.html');
  get('/', async (request, reply) => {
    reply.header('vary', 'accept');
    if (!/\btext\/html\b/.test(request.headers.accept ?? '')) return ROOT;
    pageHeaders(reply).type('text/html; charset=utf-8');
    return page;
  });

  get('/openapi.json', async () => openApiDocument(app));

  for (const [url, name, type] of ASSETS) {
    const bytes = asset(name);
    get(url, async (_request, reply) => {
      pageHeaders(reply).type(type);
      return bytes;
    });
  }
}

const asset = (name: string): Buffer => readFileSync(new URL(`pages/${name}`, import.meta.url));

const pageHeaders = (reply: FastifyReply): FastifyReply =>
  reply.header('content-security-policy', PAGE_POLICY).header('referrer-policy', 'no-referrer');
