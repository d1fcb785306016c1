import { defineConfig } from 'vitest/config';

/** `npm run test:slow`: real daemons, random kills, fuzz, migrations, years in virtual time. In CI with each change. */
export default defineConfig({
  test: {
    name: 'slow',
    include: ['tests/slow/**/*.test.ts'],
    globalSetup: ['tests/support/commands/built-package.ts'],
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    sequence: { shuffle: { files: true, tests: false } },
  },
});
