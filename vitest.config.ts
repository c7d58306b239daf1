import { defineConfig } from 'vitest/config';

// Crash, SDK and database tests start real processes, and the machine may be slow and shared.
const limits = { testTimeout: 60_000, hookTimeout: 60_000, pool: 'forks' as const };

/** Beside the sources, and yet not fast: they start processes, open a store for each test, or wait. */
const SLOW = [
  'src/**/*.kill.test.ts',
  'src/app/*.test.ts',
  'src/batch/engine-idle.test.ts',
  'src/batch/judgement.test.ts',
  'src/stores/state/postgres/open.test.ts',
];

export default defineConfig({
  test: {
    // Tests wait more than they compute: with the default of one core less, two cores would have one worker.
    maxWorkers: '100%',
    globalSetup: ['test/support/run-setup.ts', 'test/support/postgres-setup.ts'],
    projects: [
      {
        test: {
          ...limits,
          name: 'fast',
          include: ['{src,scripts,test/contract}/**/*.test.ts'],
          exclude: SLOW,
          // Files of one worker share what they import. They share nothing else: a test has its own directory and store.
          isolate: false,
        },
      },
      {
        test: {
          ...limits,
          name: 'whole',
          include: ['test/{sdk,e2e,crash,races,simulation,judgement}/**/*.test.ts', ...SLOW],
          testTimeout: 300_000,
        },
      },
    ],
  },
});
