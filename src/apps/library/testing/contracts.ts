/**
 * The contract suites of the ports, for adapters of your own: each is a function that registers tests with vitest. It needs
 * vitest 3 or later and fast-check 3 or later, which you install. Call it in a test file, with a name for the report and a
 * factory for what is tested. What a factory has to clean up it can give to `onTestFinished` of vitest. Some tests take seconds on a busy
 * machine: set `testTimeout: 30_000`.
 * @module
 */
export * from '../../../../tests/contract/auth-hook.contract.js';
export * from '../../../../tests/contract/certificate-authority.contract.js';
export * from '../../../../tests/contract/certificate-requests.contract.js';
export * from '../../../../tests/contract/clock.contract.js';
export * from '../../../../tests/contract/crypto.contract.js';
export * from '../../../../tests/contract/event-log.contract.js';
export * from '../../../../tests/contract/file-system.contract.js';
export * from '../../../../tests/contract/jobs.contract.js';
export * from '../../../../tests/contract/join-tokens.contract.js';
export * from '../../../../tests/contract/key-store.contract.js';
export * from '../../../../tests/contract/mutex.contract.js';
export * from '../../../../tests/contract/pairing.contract.js';
export * from '../../../../tests/contract/process-runner.contract.js';
export * from '../../../../tests/contract/random.contract.js';
export * from '../../../../tests/contract/registry.contract.js';
export * from '../../../../tests/contract/revocation-lists.contract.js';
export * from '../../../../tests/contract/revocations.contract.js';
export * from '../../../../tests/contract/run-journal.contract.js';
export * from '../../../../tests/contract/run-store.contract.js';
