import { parentPort } from 'node:worker_threads';
import { MUTANTS } from './mutants.ts';
import { makePlan } from './plan.ts';
import type { Task } from './pool.ts';
import { runHistory } from './world.ts';

parentPort?.on('message', (task: Task) => {
  const mutation = task.mutant === undefined ? undefined : MUTANTS[task.mutant];
  if (task.mutant !== undefined && mutation === undefined)
    throw new Error(`no mutant is called '${task.mutant}'`);
  void runHistory(makePlan(task.seed, task.weather), { mutation }).then((history) =>
    parentPort?.postMessage(history),
  );
});
