import { defineConfig } from 'vitest/config';

/** Files that replace modules for the whole worker: each has a worker of its own. */
const isolated = ['tests/unit/apps/composition.test.ts', 'tests/unit/sdk/agent/signatures.test.ts'];

const shared = {
  testTimeout: 30_000,
  hookTimeout: 60_000,
  sequence: { shuffle: { files: true, tests: false } },
  setupFiles: ['tests/support/processes/tls-first.ts'],
};

/** `npm test`: at most five minutes on two cores. What takes longer is in tests/slow or tests/full. */
export default defineConfig({
  test: {
    // Vitest takes a core less than there are, which leaves one worker on two cores.
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['tests/{unit,contract}/**/*.test.ts'],
          exclude: isolated,
          isolate: false,
        },
      },
      { test: { ...shared, name: 'isolated', include: isolated } },
      {
        test: {
          ...shared,
          name: 'integration',
          include: ['tests/integration/**/*.test.ts'],
          isolate: false,
          globalSetup: ['tests/support/commands/built-package.ts'],
        },
      },
    ],
  },
});
