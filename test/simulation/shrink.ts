import type { Mutation } from './mutation.ts';
import type { Plan } from './plan.ts';
import { runHistory } from './world.ts';

/** Removes from a failing plan the faults, outages, changes and jobs that it does not need to fail. */
export async function shrink(plan: Plan, mutation?: Mutation): Promise<Plan> {
  const fails = async (candidate: Plan) => (await runHistory(candidate, { mutation })).violation !== null;
  let smallest = plan;
  for (const part of ['faults', 'outages', 'changes', 'jobs'] as const) {
    for (const item of plan[part]) {
      const candidate = { ...smallest, [part]: smallest[part].filter((other) => other !== item) };
      if (candidate.jobs.length > 0 && (await fails(candidate))) smallest = candidate;
    }
  }
  return smallest;
}
