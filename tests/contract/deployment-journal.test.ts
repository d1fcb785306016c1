import { mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { fileDeploymentJournal } from '../../src/adapters/files/deploy/deployment-journal.js';
import { memoryDeploymentJournal } from '../../src/adapters/memory/deploy/deployment-journal.js';
import { deploymentJournalContract } from './deployment-journal.contract.js';
import { failure, value } from './result.js';

deploymentJournalContract('memory', async () => {
  const journal = memoryDeploymentJournal();
  return {
    journal,
    crash: async () => {
      journal.crash();
      return journal;
    },
    backups: async () => journal.backups().length,
    dispose: async () => undefined,
  };
});

const paths = (directory: string) => readdir(directory, { recursive: true, withFileTypes: true });

/** The names keep the pid of their process: one that nobody has stands for a process that is gone. */
async function orphan(directory: string): Promise<void> {
  for (const entry of await paths(directory))
    if (entry.isDirectory() && entry.name.includes(`-${process.pid}-`)) {
      const name = entry.name.replace(`-${process.pid}-`, '-999999999-');
      await rename(join(entry.parentPath, entry.name), join(entry.parentPath, name));
    }
}

deploymentJournalContract('files', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ctrl-exec-deployment-journal-'));
  const asWritten = new Map<string, string>();
  const journal = fileDeploymentJournal({ directory });
  return {
    journal: {
      ...journal,
      begin: (begun) =>
        journal.begin(begun).map((id) => {
          asWritten.set(gone(id), id);
          return id;
        }),
    },
    crash: async () => {
      await orphan(directory);
      return {
        ...journal,
        pending: () =>
          journal
            .pending()
            .map((found) => found.map((each) => ({ ...each, id: asWritten.get(each.id) ?? each.id }))),
      };
    },
    backups: async () => (await paths(directory)).filter(({ name }) => name === 'deployment.json').length,
    dispose: () => rm(directory, { recursive: true, force: true }),
  };
});

const gone = (id: string) => id.replace(`-${process.pid}-`, '-999999999-');

const record = {
  targetType: 'NGINX',
  reload: undefined,
  files: [
    {
      path: '/etc/tls/../odd name',
      before: { content: new TextEncoder().encode('SECRET'), mode: 0o644, uid: 0, gid: 0 },
      after: '00'.repeat(32),
    },
  ],
};

it('contents are readable by their owner only, whatever the mode of the file was', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ctrl-exec-deployment-journal-'));
  try {
    value(await fileDeploymentJournal({ directory }).begin(record));
    for (const entry of await paths(directory)) {
      const { mode } = await stat(join(entry.parentPath, entry.name));
      expect(mode & 0o777).toBe(entry.isDirectory() ? 0o700 : 0o600);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

it('a damaged record is an error that names it, a half written one never was', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ctrl-exec-deployment-journal-'));
  try {
    const journal = fileDeploymentJournal({ directory });
    const id = value(await journal.begin(record));
    await rename(join(directory, id), join(directory, `${id}.partial`));
    await orphan(directory);
    expect(value(await journal.pending())).toEqual([]);
    const next = value(await journal.begin(record));
    await writeFile(join(directory, next, 'pending.json'), '{"format":1');
    await orphan(directory);
    const error = failure(await journal.pending());
    expect(error).toMatchObject({ reason: 'EBADMSG' });
    expect(error.message).toContain('pending.json');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
