import { randomUUID } from 'node:crypto';

/** Makes the ids that people see, in the shapes of the original service. A simulation passes a seeded source of UUIDs. */
export type UuidSource = () => string;

export const systemUuid: UuidSource = randomUUID;

/** `batch_` + dashed GUID. */
export const newBatchId = (uuid: UuidSource): string => `batch_${uuid()}`;
/** An uploaded file: `file-` + 32 hex digits. */
export const newUploadId = (uuid: UuidSource): string => `file-${uuid().replaceAll('-', '')}`;
/** A produced file: `file-` + dashed GUID. */
export const newProducedFileId = (uuid: UuidSource): string => `file-${uuid()}`;
/** A file that comes in parts: `upload_` + 32 hex digits. */
export const newMultipartId = (uuid: UuidSource): string => `upload_${uuid().replaceAll('-', '')}`;
/** One of them: `part_` + 32 hex digits. */
export const newPartId = (uuid: UuidSource): string => `part_${uuid().replaceAll('-', '')}`;
