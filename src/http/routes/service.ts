/** Health, the OpenAPI document, and a page that shows it. None of them asks for a key. */
import type { FastifyInstance } from 'fastify';
import { readFileSync } from 'node:fs';
import { openApiDocument } from '../openapi.ts';

const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const ASSETS = [
  ['/docs', 'index.html', 'text/html; charset=utf-8'],
  ['/docs/page.js', 'page.js', 'text/javascript; charset=utf-8'],
  ['/docs/page.css', 'page.css', 'text/css; charset=utf-8'],
] as const;

export function serviceRoutes(app: FastifyInstance, { ready }: { ready: () => boolean }): void {
  app.get('/healthz', { schema: { hide: true } }, async (_request, reply) => {
    const isReady = ready();
    reply.code(isReady ? 200 : 503).header('cache-control', 'no-store');
    return { status: isReady ? 'ready' : 'starting' };
  });

  app.get('/openapi.json', { schema: { hide: true } }, async () => openApiDocument(app));

  for (const [url, name, type] of ASSETS) {
    const asset = readFileSync(new URL(`../docs/${name}`, import.meta.url));
    app.get(url, { schema: { hide: true } }, async (_request, reply) => {
      reply
        .type(type)
        .header('content-security-policy', PAGE_POLICY)
        .header('referrer-policy', 'no-referrer');
      return asset;
    });
  }
}
