/** The composition root. Only this file and those in `app/` name an implementation of a port. */
import { Server as TlsServer } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { openControlPlane, type OpenedControlPlane } from './app/control-plane.ts';
import { singleOn, startRuntime, type AppDeps, type Runtime } from './app/runtime.ts';
import type { FirstKeys, KeepFirstKeys } from './app/first-keys.ts';
import { loggedControlPlane } from './app/logged-control-plane.ts';
import { redeployingControlPlane } from './app/redeploying-control-plane.ts';
import { openRunDeployment } from './app/run-deployment.ts';
import { closeStorage, openStorage } from './app/storage.ts';
import { openTls, readOwnTls } from './app/tls.ts';
import type { EngineOptions } from './batch/engine.ts';
import { createImporter } from './batch/upload/import.ts';
import type { AppConfig } from './config/config.ts';
import { systemClock } from './core/clock.ts';
import { systemUuid } from './core/ids.ts';
import { proxiesOf } from './core/proxy.ts';
import type { ControlPlane } from './deployments/control/port.ts';
import { createHttpServer } from './http/server.ts';

export interface App extends Runtime {
  readonly http: FastifyInstance;
  readonly controlPlane: ControlPlane;
  readonly firstKeys: FirstKeys;
  readonly checkUpstreams: OpenedControlPlane['checkUpstreams'];
  /** The certificate that clients must trust. Null: the service speaks HTTP, or has a certificate of the operator's own. */
  readonly localCertPath: string | null;
  listen(): Promise<{ readonly url: string }>;
  /**
   * Puts another configuration in force; batches go on. It reaches requests by `engine.redeploy`, `dispatchers.refresh` and
   * `dispatcher.update`: when it resolves, every request that is sent from then on follows it. Options that need a restart
   * are not looked at. It rejects with a `ConfigError`, and changes nothing, when the configuration has faults.
   */
  apply(config: AppConfig): Promise<void>;
}

export async function createApp(
  config: AppConfig,
  deps: AppDeps & { readonly keepFirstKeys?: KeepFirstKeys },
): Promise<App> {
  const storage = await openStorage(config, deps);
  const single = singleOn(storage, deps);
  const closeAndThrow = async (error: unknown): Promise<never> => {
    await closeStorage(storage);
    throw error;
  };
  // These find every fault of the configuration, before anything else is opened.
  const tls = await openTls(config, storage.dataDir).catch(closeAndThrow);
  const opened = await openControlPlane(config, storage, { ...deps, ...single }).catch(closeAndThrow);
  const { controlPlane } = opened;
  const runtime = await startRuntime(config, { ...deps, storage, single, directory: opened });
  let ready = false;
  const importer = createImporter({
    uploader: runtime.uploader,
    clock: systemClock,
    importHosts: config.importHosts,
    proxyFor: proxiesOf(process.env),
  });
  const http = createHttpServer({
    ...runtime,
    importer,
    controlPlane: loggedControlPlane(redeployingControlPlane(controlPlane, runtime.engine), deps.log),
    authenticate: opened.authenticate,
    clock: systemClock,
    uuid: systemUuid,
    log: deps.log,
    ready: () => ready,
    onFatal: deps.onFatal,
    ...(tls.tls && { tls: tls.tls }),
    options: {
      resourceDomains: config.resourceDomains,
      connectionsPerAddressMax: config.connectionsPerAddressMax,
      trustedProxies: config.trustedProxies,
    },
  });
  return {
    ...runtime,
    http,
    controlPlane,
    firstKeys: opened.firstKeys,
    checkUpstreams: opened.checkUpstreams,
    localCertPath: tls.localCertPath,
    async listen() {
      const url = await http.listen({ host: config.host, port: config.port });
      ready = true;
      return { url };
    },
    async apply(next) {
      const renewed = await readOwnTls(config);
      await opened.apply(next);
      if (renewed && http.server instanceof TlsServer) http.server.setSecureContext(renewed);
      await runtime.engine.redeploy();
    },
    async close(options) {
      ready = false;
      await Promise.all([http.close(), importer.close(), runtime.close(options)]);
    },
  };
}

/** Opens what `offpeak run` needs: the first deployment of the configuration, on its first upstream. */
export async function openRun(
  config: AppConfig,
  deps: AppDeps & Pick<EngineOptions, 'acceptedBefore'>,
): Promise<Runtime> {
  const storage = await openStorage(config, deps);
  return startRuntime(config, {
    ...deps,
    options: { acceptedBefore: deps.acceptedBefore },
    storage,
    single: singleOn(storage, deps),
    directory: await openRunDeployment(config, { ...storage, log: deps.log }),
  });
}
