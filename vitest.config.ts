import { defineConfig } from 'vitest/config';

// Crash, SDK and database tests start real processes, and the machine may be slow and shared.
const limits = { testTimeout: 60_000, hookTimeout: 60_000, pool: 'forks' as const };

export default defineConfig({
  test: {
    // Tests wait more than they compute: with the default of one core less, two cores would have one worker.
    maxWorkers: '100%',
    globalSetup: ['test/support/run-setup.ts', 'test/support/postgres-setup.ts'],
    projects: [
      {
        test: { ...limits, name: 'fast', include: ['{src,scripts,test/contract}/**/*.test.ts'] },
      },
      {
        test: {
          ...limits,
          name: 'whole',
          include: ['test/{sdk,e2e,crash,races,simulation,judgement}/**/*.test.ts'],
          testTimeout: 300_000,
        },
      },
    ],
  },
});
