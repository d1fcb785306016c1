import { join } from 'node:path';
import { processAuthHook } from '../../src/adapters/child-process/auth-hook.js';
import { nodeFileSystem } from '../../src/adapters/files/file-system.js';
import { memoryAuthHook } from '../../src/adapters/memory/auth-hook.js';
import { scriptDirectory } from '../unit/adapters/child-process/scripts.js';
import { authHookContract } from './auth-hook.contract.js';

authHookContract('memory', {
  ending: (how) => memoryAuthHook(() => how),
  endless: (seconds) => memoryAuthHook(() => ({ kind: 'timed-out', seconds })),
  absent: () => memoryAuthHook(() => ({ kind: 'none' })),
  unusable: () => memoryAuthHook(() => ({ kind: 'not-run', reason: 'no such file' })),
});

const { directory, shell } = scriptDirectory();
const hook = (path: string | undefined, timeoutSeconds = 10) =>
  processAuthHook({ path, timeoutSeconds, trust: 'strict', files: nodeFileSystem() });

authHookContract('child process', {
  ending: (how) =>
    hook(shell(how.kind === 'exited' ? `exit ${how.code}` : `kill -${how.signal.slice(3)} $$`)),
  endless: (seconds) => hook(shell('sleep 1000'), seconds),
  absent: () => hook(undefined),
  unusable: () => hook(join(directory, 'missing')),
});
