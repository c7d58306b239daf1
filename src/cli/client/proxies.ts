import { setGlobalProxyFromEnv } from 'node:http';
import { proxiesOf } from '../../core/proxy.ts';

/**
 * Lets every `fetch` of this process go through the proxies of the environment, save what stays on this machine. Throws
 * `ProxyError` for a variable that names none. Model servers and imports have connections of their own, and look themselves.
 */
export function useProxies(env: NodeJS.ProcessEnv): void {
  const { HTTP_PROXY: http, HTTPS_PROXY: https, http_proxy: lowerHttp, https_proxy: lowerHttps } = env;
  if (!http && !https && !lowerHttp && !lowerHttps) return;
  proxiesOf(env);
  const excluded = [
    env['no_proxy'] ?? env['NO_PROXY'] ?? '',
    'localhost',
    '127.0.0.1',
    '[::1]',
    '::1',
    '.localhost',
  ];
  setGlobalProxyFromEnv({
    ...env,
    http_proxy: withScheme(lowerHttp || http),
    https_proxy: withScheme(lowerHttps || https),
    no_proxy: excluded.filter((entry) => entry !== '').join(','),
  });
}

const withScheme = (proxy: string | undefined): string | undefined =>
  proxy === undefined || proxy === '' || proxy.includes('://') ? proxy : `http://${proxy}`;
