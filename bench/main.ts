import { memory, throughput } from './batch.ts';
import { alone, besideThrottled } from './failures.ts';
import { firstRequest } from './first-request.ts';
import { run as lists } from './lists.ts';
import type { Measurement } from './measurement.ts';
import { run as upload } from './upload.ts';
import { run as validation } from './validation.ts';

// `npm run bench [-- NAME …]` prints each figure beside a yardstick of the same run. Noise moves both, so read the ratio.

const BENCHES: Record<string, () => Promise<Measurement>> = {
  batch32: () => throughput(32),
  batch256: () => throughput(256),
  validation,
  upload,
  memory,
  first: firstRequest,
  failing0: () => alone(0),
  failing05: () => alone(0.005),
  failing2: () => alone(0.02),
  failing5: () => alone(0.05),
  throttled: besideThrottled,
  lists,
};

const chosen = process.argv.slice(2);
let missed = 0;
for (const [name, run] of Object.entries(BENCHES)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue;
  const { ours, yardstick, ratio, goal, ...what } = await run();
  const met = goal === undefined || (goal.at === 'least' ? ratio >= goal.ratio : ratio <= goal.ratio);
  if (!met) missed += 1;
  const wanted = goal === undefined ? '' : `  (at ${goal.at} ${goal.ratio}${met ? '' : ': MISSED'})`;
  console.log(
    `${name.padEnd(11)} ${what.name}: ${figure(ours)} ${what.unit}, yardstick ${figure(yardstick)}, ratio ${ratio.toFixed(2)}${wanted}`,
  );
}
process.exitCode = missed === 0 ? 0 : 1;

function figure(value: number): string {
  return value.toLocaleString('en', { maximumFractionDigits: value < 100 ? 1 : 0 });
}
