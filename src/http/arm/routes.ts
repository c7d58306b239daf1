/** The control plane: what Azure Resource Manager has for accounts, deployments, models and quota. */
import type { FastifySchemaCompiler } from 'fastify';
import type { z } from 'zod';
import { ApiError } from '../../contract/error.ts';
import { check } from '../wire/validation.ts';
import { accountRoutes, type ArmDeps } from './accounts.ts';
import { auditRoutes } from './audit.ts';
import { deploymentRoutes } from './deployments.ts';
import { locationRoutes } from './locations.ts';
import type { Routes } from '../deps.ts';

export function armRoutes(app: Routes, { controlPlane, resourceDomains }: ArmDeps): void {
  void app.register(async (arm) => {
    arm.setValidatorCompiler(compileArmValidator);
    accountRoutes(arm, { controlPlane, resourceDomains });
    deploymentRoutes(arm, controlPlane);
    locationRoutes(arm, controlPlane);
    auditRoutes(arm, controlPlane);
  });
}

/** ARM has one code for every fault of a request. */
const compileArmValidator: FastifySchemaCompiler<z.ZodType> =
  ({ schema }) =>
  (input) => {
    const result = check(schema, input);
    if (!('error' in result)) return result;
    const { message, param } = result.error;
    return { error: new ApiError('invalidRequestContent', message, { param, cause: result.error }) };
  };
