import { defineConfig } from 'vitest/config';

/** The long suites: one file at a time, because each fills the machine by itself. */
export default defineConfig({
  test: {
    name: 'full',
    include: ['tests/full/**/*.test.ts'],
    globalSetup: ['tests/support/commands/built-package.ts'],
    fileParallelism: false,
    testTimeout: 1_200_000,
    hookTimeout: 120_000,
  },
});
