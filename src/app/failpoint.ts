import { noFailpoints, type Failpoint } from '../core/failpoint.ts';

/** `OFFPEAK_FAILPOINT=name` kills the process, as kill -9 does, when it gets there: for crash tests. */
export function failpointFromEnv(): Failpoint {
  const chosen = process.env['OFFPEAK_FAILPOINT'];
  if (chosen === undefined || chosen === '') return noFailpoints;
  return (name) => {
    if (name === chosen) process.kill(process.pid, 'SIGKILL');
  };
}
