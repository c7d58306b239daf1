import { option } from './option.ts';
import { age } from './values.ts';

/** What has ended is kept for ever, unless the operator says for how long. */
export const KEEP_OPTIONS = {
  keepBatchesMs: option({
    flag: 'keep-batches',
    yaml: 'keep.batches',
    kind: age,
    placeholder: 'AGE',
    default: null,
    defaultText: 'for ever',
    help: 'Remove batches, with their output and error files, this long after their end.',
    commands: ['serve'],
  }),
  keepFilesMs: option({
    flag: 'keep-files',
    yaml: 'keep.files',
    kind: age,
    placeholder: 'AGE',
    default: null,
    defaultText: 'for ever',
    help: 'Remove files this long after their upload, unless a live batch reads them or they have an expiry of their own.',
    commands: ['serve'],
  }),
  keepAuditMs: option({
    flag: 'keep-audit',
    yaml: 'keep.audit',
    kind: age,
    placeholder: 'AGE',
    default: null,
    defaultText: 'for ever',
    help: 'Remove entries of the audit log this long after they were written.',
    commands: ['serve'],
  }),
} as const;
