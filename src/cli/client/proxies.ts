import { setGlobalProxyFromEnv } from 'node:http';
import { proxiesOf } from '../../core/proxy.ts';

/**
 * Makes every `fetch` of this process use the proxies of the environment, except for addresses of this machine. Throws
 * `ProxyError` if a variable names no proxy. Model servers and imports have their own connections, with the same proxies.
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
