import { createAuditStore } from './audit.ts';
import { createBatchStore } from './batches.ts';
import type { Database } from './database.ts';
import { createDeploymentStore } from './deployments.ts';
import { createFileStore } from './files.ts';
import { createInstallationStore } from './installation.ts';
import type { StateStore } from './ports.ts';
import { createResourceStore } from './resources.ts';
import { createRetentionStore } from './retention.ts';
import { createResultStore } from './results.ts';
import { createUploadStore } from './uploads.ts';
import { createWorkStore } from './work.ts';

export const createStateStore = (database: Database): StateStore => ({
  installation: createInstallationStore(database),
  resources: createResourceStore(database),
  deployments: createDeploymentStore(database),
  audit: createAuditStore(database),
  files: createFileStore(database),
  uploads: createUploadStore(database),
  batches: createBatchStore(database),
  work: createWorkStore(database),
  results: createResultStore(database),
  retention: createRetentionStore(database),
  close: () => database.close(),
});
