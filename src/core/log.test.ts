import { expect, test } from 'vitest';
import { createLog, type LogEntry } from './log.ts';

test('an event has its fields in the order of the table, and leaves out what is absent', () => {
  const entries: LogEntry[] = [];
  const log = createLog((entry) => entries.push(entry));

  log.event('request', {
    actor: undefined,
    resource: null,
    ms: 3,
    status: 200,
    route: '/files',
    method: 'GET',
    request: 'r1',
  });

  expect(entries).toEqual([
    {
      event: 'request',
      level: 'info',
      message: 'request',
      fields: [
        ['request', 'r1'],
        ['method', 'GET'],
        ['route', '/files'],
        ['status', 200],
        ['ms', 3],
      ],
    },
  ]);
});
