import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { fileRunJournal } from '../../src/adapters/files/journal/run-journal.js';
import { memoryRunJournal } from '../../src/adapters/memory/run-journal.js';
import { runJournalContract } from './run-journal.contract.js';

const limits = { nonces: 8, capacity: 8, voids: 3, resultBytes: 150 };

runJournalContract('memory', async (monotonic) => {
  const journal = memoryRunJournal({ ...limits, monotonic });
  return { journal, reopen: async () => journal, dispose: async () => undefined };
});

runJournalContract('files', async (monotonic) => {
  const home = await mkdtemp(join(tmpdir(), 'run-journal-'));
  const directory = join(home, 'state', 'runs');
  const former = join(home, 'state', 'replay');
  const open = () => fileRunJournal({ directory, former, ...limits, monotonic, bootId: () => 'this boot' });
  let journal = open();
  return {
    journal,
    reopen: async () => {
      await journal.close();
      journal = open();
      return journal;
    },
    dispose: async () => {
      await journal.close();
      expect(['state', undefined]).toContain((await readdir(home)).join() || undefined);
      await rm(home, { recursive: true });
    },
  };
});
