import { defineConfig } from 'vitest/config';

// A crash, SDK or database test starts real processes; the machine may be slow and shared.
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    globalSetup: ['test/support/postgres-setup.ts'],
    reporters: ['default'],
  },
});
