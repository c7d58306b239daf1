import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants.ts';
import { makePlan } from './plan.ts';
import { runHistory } from './world.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '400' },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' },
    mutant: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});
const from = Number(values.seed ?? values.from);
const count = values.seed ? 1 : Number(values.seeds);
let failed = 0;
const started = performance.now();
for (let seed = from; seed < from + count; seed++) {
  const history = await runHistory(makePlan(seed), {
    trace: values.trace,
    mutation: MUTANTS[values.mutant ?? ''],
  });
  if (values.trace) console.log(history.trace.join('\n'));
  if (history.violation) {
    failed++;
    console.log(`seed ${seed}: ${history.violation}`);
  }
}
console.log(`${count} histories, ${failed} failed, ${((performance.now() - started) / 1000).toFixed(1)} s`);
process.exitCode = failed > 0 ? 1 : 0;
