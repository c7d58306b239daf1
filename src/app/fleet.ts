import type { AppConfig } from '../config/config.ts';
import { ConfigError, type Fault } from '../config/fault.ts';
import type { Log } from '../core/log.ts';
import type { Catalog } from '../deployments/catalog/catalog.ts';
import type { FleetUpstream } from '../deployments/fleet/serving.ts';
import { readSimulatorBehaviour } from './simulator.ts';
import { connectionOf } from './upstream-kinds.ts';

/** The upstreams of a configuration, not opened yet. It rejects with all their faults. */
export async function fleetOf(config: AppConfig, catalog: Catalog, log: Log): Promise<FleetUpstream[]> {
  const context = { config, behaviour: await readSimulatorBehaviour(config), log };
  const faults: Fault[] = [];
  const fleet: FleetUpstream[] = [];
  for (const upstream of config.upstreams) {
    const { name, region, models, onlyFor } = upstream;
    try {
      const connection = await connectionOf(upstream, context);
      const dataZone = upstream.dataZone ?? catalog.dataZoneOf(region);
      fleet.push({ name, region, dataZone, models, onlyFor, ...connection });
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      faults.push(...error.faults);
    }
  }
  if (faults.length > 0) throw new ConfigError(faults);
  return fleet;
}
