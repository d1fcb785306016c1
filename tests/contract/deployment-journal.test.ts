import { chmod, chown, mkdtemp, readdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { fileDeploymentJournal } from '../../src/adapters/files/deploy/deployment-journal.js';
import { asRoot } from '../support/as-root.js';
import { memoryDeploymentJournal } from '../support/memory/deployment-journal.js';
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

it('a damaged record is told and hides no other, a half written one never was', async () => {
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
    const sound = { ...record, files: record.files.map((file) => ({ ...file, path: '/etc/tls/sound' })) };
    value(await journal.begin(sound));
    await orphan(directory);
    const found = value(await journal.pending());
    expect(found).toHaveLength(2);
    expect(found).toContainEqual(expect.objectContaining({ record: sound }));
    expect(found).toContainEqual(
      expect.objectContaining({ problem: expect.stringMatching(/pending\.json.*is damaged.*EBADMSG/) }),
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

describe('a journal that others could write', () => {
  const begun = async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ctrl-exec-deployment-journal-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const journal = fileDeploymentJournal({ directory });
    const id = value(await journal.begin(record));
    await orphan(directory);
    return { directory, journal, set: join(directory, gone(id)) };
  };

  it('is an error, and nothing is written to it', async () => {
    const { directory, journal } = await begun();
    for (const mode of [0o777, 0o1777, 0o770]) {
      await chmod(directory, mode);
      expect(failure(await journal.pending()).message).toContain(`\`chmod go-w ${directory}\``);
      expect(failure(await journal.begin(record)).message).toContain(`\`chmod go-w ${directory}\``);
    }
    expect(await readdir(directory)).toHaveLength(1);
  });

  it('has records that are not believed, and others that are', async () => {
    const { directory, journal, set } = await begun();
    value(
      await journal.begin({
        ...record,
        files: [{ path: '/etc/b', before: undefined, after: 'ab'.repeat(32) }],
      }),
    );
    await orphan(directory);
    const planted = join(set, 'pending.json');
    await chmod(planted, 0o666);
    const found = value(await journal.pending());
    expect(
      found.map((each) => ('problem' in each ? each.problem : each.record.files[0]?.path)).toSorted(),
    ).toEqual(['/etc/b', expect.stringContaining(`\`chmod go-w ${planted}\``)]);
  });

  asRoot('has a record of another user, or behind a link', async () => {
    const { journal, set } = await begun();
    const problem = async () =>
      value(await journal.pending()).map((each) => 'problem' in each && each.problem);
    await chown(join(set, '0'), 65534, 65534);
    expect(await problem()).toEqual([expect.stringContaining('belongs to uid 65534')]);
    await rm(join(set, '0'));
    await symlink('/etc/shadow', join(set, '0'));
    expect(await problem()).toEqual([expect.stringContaining(`rm ${set}/0`)]);
  });
});
