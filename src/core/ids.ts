import { randomUUID } from 'node:crypto';

/** Where ids come from; their shapes are those of the original service. A simulation passes a seeded source. */
export type UuidSource = () => string;

export const systemUuid: UuidSource = randomUUID;

/** `batch_` + dashed GUID. */
export const newBatchId = (uuid: UuidSource): string => `batch_${uuid()}`;
/** An uploaded file: `file-` + 32 hex digits. */
export const newUploadedFileId = (uuid: UuidSource): string => `file-${uuid().replaceAll('-', '')}`;
/** A produced file: `file-` + dashed GUID. */
export const newProducedFileId = (uuid: UuidSource): string => `file-${uuid()}`;
/** An upload in parts: `upload_` + 32 hex digits. */
export const newUploadId = (uuid: UuidSource): string => `upload_${uuid().replaceAll('-', '')}`;
/** A part of an upload: `part_` + 32 hex digits. */
export const newPartId = (uuid: UuidSource): string => `part_${uuid().replaceAll('-', '')}`;
