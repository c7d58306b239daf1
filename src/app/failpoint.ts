import { noFailpoints, type Failpoint } from '../core/failpoint.ts';

/** Crash tests use it: `OFFPEAK_FAILPOINT=name` kills the process at that point, as kill -9 does. */
export function failpointFromEnv(): Failpoint {
  const chosen = process.env['OFFPEAK_FAILPOINT'];
  if (chosen === undefined || chosen === '') return noFailpoints;
  return (name) => {
    if (name === chosen) process.kill(process.pid, 'SIGKILL');
  };
}
