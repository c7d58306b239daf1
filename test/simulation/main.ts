import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants.ts';
import { makePlan, type Plan, type Weather } from './plan.ts';
import { Pool } from './pool.ts';
import { shrink } from './shrink.ts';
import { Summary } from './summary.ts';
import { runHistory } from './world.ts';

const HELP = `npm run dst -- [options]
  --seeds N       how many histories (400)
  --from S        the first seed (1)
  --threads T     how many at a time (one per core)
  --seed X        one history, with its trace; a failing one is shrunk to the faults that it needs
  --weather W     instead of the one that each seed draws
  --mutant NAME   with a planted bug; 'list' names them
`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '400' },
    from: { type: 'string', default: '1' },
    threads: { type: 'string' },
    seed: { type: 'string' },
    weather: { type: 'string' },
    mutant: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) console.log(HELP);
else if (values.mutant === 'list') console.log(Object.keys(MUTANTS).join('\n'));
else if (values.seed !== undefined) process.exitCode = await replay(Number(values.seed), values.mutant);
else process.exitCode = await explore();

async function explore(): Promise<number> {
  const { mutant } = values;
  const weather = weatherOf(mutant);
  const [first, count] = [Number(values.from), Number(values.seeds)];
  const pool = new Pool(values.threads === undefined ? undefined : Number(values.threads));
  const summary = new Summary();
  const startedMs = performance.now();
  await Promise.all(
    Array.from({ length: count }, async (_, i) => {
      const history = await pool.run({
        seed: first + i,
        ...(weather !== undefined && { weather }),
        ...(mutant !== undefined && { mutant }),
      });
      summary.add(history);
      if (history.violation !== null) console.log(`\rseed ${history.seed}: ${history.violation}`);
      if (process.stderr.isTTY) process.stderr.write(`\r${summary.histories}/${count} `);
    }),
  );
  await pool.close();
  console.log(`\r${summary.toString()}; ${((performance.now() - startedMs) / 1000).toFixed(1)} s`);
  for (const { seed } of summary.violations) console.log(`replay: npm run dst -- --seed ${seed}`);
  return summary.violations.length > 0 ? 1 : 0;
}

async function replay(seed: number, mutant: string | undefined): Promise<number> {
  const plan = makePlan(seed, weatherOf(mutant));
  const mutation = mutant === undefined ? undefined : MUTANTS[mutant];
  const history = await runHistory(plan, { mutation, trace: true });
  console.log(history.trace.join('\n'));
  if (history.violation === null) {
    console.log(`seed ${seed} keeps every promise`);
    return 0;
  }
  console.log(`seed ${seed}: ${history.violation}`);
  console.log(`it needs: ${describe(await shrink(plan, mutation))}`);
  return 1;
}

function weatherOf(mutant: string | undefined): Weather | undefined {
  if (values.weather !== undefined) return values.weather as Weather;
  return mutant === undefined ? undefined : MUTANTS[mutant]?.weather;
}

function describe({ tuning, deployments, jobs, outages, changes, faults }: Plan): string {
  const short = jobs.map((job) => ({ ...job, text: undefined, lines: job.lines.length }));
  return JSON.stringify({ tuning, deployments, faults, outages, changes, jobs: short }, null, 2);
}
