/** The audit log: who changed what, and when. */
import { z } from 'zod';
import { WireAuditPage } from '../../contract/wire-control.ts';
import type { AuditEntry } from '../../contract/control.ts';
import type { ControlPlane } from '../../deployments/control/port.ts';
import { refuseAuthorization } from '../hooks/access.ts';
import { CONTROL_PLANE } from '../address/router-paths.ts';
import type { Routes } from '../deps.ts';

const AuditQuery = z.object({
  resource: z.string().optional().meta({ description: 'Of this resource alone' }),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  before: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .meta({ description: '`seq` of the last entry of the page before' }),
});

export function auditRoutes(app: Routes, controlPlane: ControlPlane): void {
  app.get(
    `${CONTROL_PLANE}/audit`,
    {
      config: { action: 'audit/read', reach: 'some' },
      schema: {
        summary: 'Read the audit log',
        querystring: AuditQuery,
        response: { 200: WireAuditPage },
      },
    },
    async (request) => {
      const { resource, limit, before } = request.query;
      if (!request.principal.allows('audit/read', resource ?? null))
        throw refuseAuthorization(request, 'audit/read');
      // One entry more than asked for shows whether there is more.
      const entries = await controlPlane.listAudit({
        resourceId: resource ?? null,
        limit: limit + 1,
        ...(before !== undefined && { before }),
      });
      return {
        object: 'list' as const,
        data: entries.slice(0, limit).map(renderEntry),
        has_more: entries.length > limit,
      };
    },
  );
}

const renderEntry = (entry: AuditEntry) => ({
  object: 'audit.entry' as const,
  seq: entry.seq,
  at: entry.atS,
  resource: entry.resourceId,
  actor: entry.actor,
  action: entry.action,
  target: entry.target,
  detail: Object.fromEntries(Object.entries(entry.detail).map(([field, value]) => [snakeCase(field), value])),
});

const snakeCase = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
