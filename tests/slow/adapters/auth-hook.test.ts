import { readdirSync } from 'node:fs';
import { afterEach, describe, test } from 'vitest';
import { processAuthHook } from '../../../src/adapters/child-process/auth-hook.js';
import { nodeFileSystem } from '../../../src/adapters/files/file-system.js';
import type { HookContext } from '../../../src/domain/runs/auth-hook.js';
import { value } from '../../contract/result.js';
import { eventually, scriptDirectory } from '../../unit/adapters/child-process/scripts.js';

const { shell } = scriptDirectory();
const context: HookContext = {
  action: 'run',
  script: 'backup',
  hosts: ['web-01', 'web-02'],
  args: ['a b', '$(id)', '', '\'"\n'],
  username: 'alice',
  token: 't0k3n',
  sourceIp: '192.0.2.7',
  timestamp: '2026-01-02T03:04:05Z',
};
const ask = async (path: string, changes: Partial<HookContext> = {}, timeoutSeconds = 10) =>
  value(
    await processAuthHook({ path, timeoutSeconds, trust: 'strict', files: nodeFileSystem() }).ask({
      ...context,
      ...changes,
    }),
  );

const own = process.env['ENVEXEC_DISPATCHER'];
afterEach(() => {
  if (own === undefined) delete process.env['ENVEXEC_DISPATCHER'];
  else process.env['ENVEXEC_DISPATCHER'] = own;
});

describe('how a hook behaves', () => {
  test('a hundred questions leave no descriptor', async () => {
    const path = shell('exit 0');
    await ask(path);
    const before = readdirSync('/proc/self/fd').length;
    for (let round = 0; round < 10; round += 1)
      await Promise.all(Array.from({ length: 10 }, () => ask(path)));
    await eventually(() => readdirSync('/proc/self/fd').length <= before);
  });
});
