/**
 * Variables that Kubernetes gives every pod for a Service whose name begins with `offpeak`, such as
 * `OFFPEAK_PORT=tcp://10.0.0.1:8080` and `OFFPEAK_SERVICE_HOST`. They configure nothing.
 */
export function isFromKubernetes(variable: string, value: string | undefined): boolean {
  if (!variable.startsWith('OFFPEAK_')) return false;
  if (/_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$/.test(variable)) return true;
  if (variable.endsWith('_SERVICE_HOST') || /_SERVICE_PORT(_[A-Z0-9_]+)?$/.test(variable)) return true;
  return variable.endsWith('_PORT') && /^(tcp|udp|sctp):\/\//.test(value ?? '');
}
