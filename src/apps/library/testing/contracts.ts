/**
 * The contract suites of the ports, for adapters of your own: each is a function that registers tests with vitest. It needs
 * vitest 3 or later and fast-check 3 or later, which you install. Call it in a test file, with a name for the report and a
 * factory for what is tested. What a factory has to clean up it can give to `onTestFinished` of vitest. Some tests take seconds on a busy
 * machine: set `testTimeout: 30_000`.
 * @module
 */
export { authHookContract, type HookBinding } from '../../../../tests/contract/auth-hook.contract.js';
export {
  type AuthorityUnderTest,
  certificateAuthorityContract,
} from '../../../../tests/contract/certificate-authority.contract.js';
export { certificateRequestsContract } from '../../../../tests/contract/certificate-requests.contract.js';
export { type ClockBinding, clockContract } from '../../../../tests/contract/clock.contract.js';
export { cryptoContract } from '../../../../tests/contract/crypto.contract.js';
export {
  type EventLogBinding,
  eventLogContract,
  type LogRecord,
} from '../../../../tests/contract/event-log.contract.js';
export {
  type FileSystemSubject,
  fileSystemContract,
  type InitialFiles,
} from '../../../../tests/contract/file-system.contract.js';
export {
  type JobPrograms,
  type JobsSubject,
  jobsContract,
} from '../../../../tests/contract/jobs.contract.js';
export { joinTokensContract } from '../../../../tests/contract/join-tokens.contract.js';
export { type KeyStoreSubject, keyStoreContract } from '../../../../tests/contract/key-store.contract.js';
export { mutexContract } from '../../../../tests/contract/mutex.contract.js';
export { type PairingSubject, pairingContract } from '../../../../tests/contract/pairing.contract.js';
export {
  type ContractPrograms,
  processRunnerContract,
} from '../../../../tests/contract/process-runner.contract.js';
export { randomContract } from '../../../../tests/contract/random.contract.js';
export {
  type RegistryWithRevocations,
  registryContract,
} from '../../../../tests/contract/registry.contract.js';
export {
  revocationListsContract,
  type TestCa,
} from '../../../../tests/contract/revocation-lists.contract.js';
export { revocationsContract } from '../../../../tests/contract/revocations.contract.js';
export {
  type RunJournalSubject,
  runJournalContract,
} from '../../../../tests/contract/run-journal.contract.js';
export { type Opened, runStoreContract } from '../../../../tests/contract/run-store.contract.js';
