import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { fileAgentRuns } from '../../src/adapters/files/journal/agent-runs.js';
import { memoryAgentRuns } from '../../src/adapters/memory/agent-runs.js';
import { agentRunsContract } from './agent-runs.contract.js';

const limits = { capacity: 8, voids: 3, answerBytes: 100 };

agentRunsContract('memory', async (monotonic) => ({
  runs: memoryAgentRuns({ ...limits, monotonic }),
  dispose: async () => undefined,
}));

agentRunsContract('files', async (monotonic) => {
  const home = await mkdtemp(join(tmpdir(), 'agent-runs-'));
  const runs = fileAgentRuns({ directory: join(home, 'state', 'runs'), ...limits, monotonic });
  return {
    runs,
    dispose: async () => {
      await runs.close();
      expect(await readdir(home)).toEqual(['state']);
      await rm(home, { recursive: true });
    },
  };
});
