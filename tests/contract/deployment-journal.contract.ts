import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeploymentJournal } from '../../src/ports/deployment-journal.js';
import { value } from './result.js';

export interface DeploymentJournalSubject {
  readonly journal: DeploymentJournal;
  /** Makes everything so far that of a process that is gone; answers with the journal of the next one. */
  readonly crash: () => Promise<DeploymentJournal>;
  readonly backups: () => Promise<number>;
  readonly dispose: () => Promise<void>;
}

const bytes = (text: string) => new TextEncoder().encode(text);

const record = (path = '/etc/tls/cert.pem') => ({
  targetType: 'NGINX',
  reload: { program: '/usr/sbin/nginx', args: ['-s', 'reload'] },
  files: [
    {
      path,
      before: {
        content: bytes('old'),
        mode: 0o640,
        uid: 0,
        gid: 1,
        acl: 'user::rw-,user:7:r--,group::r--,mask::r--,other::---',
      },
      after: 'ab'.repeat(32),
      inPlace: true,
    },
    { path: `${path}.key`, before: undefined, after: 'cd'.repeat(32) },
  ],
});

export function deploymentJournalContract(
  name: string,
  create: () => Promise<DeploymentJournalSubject>,
): void {
  describe(`deployment journal contract: ${name}`, () => {
    let subject: DeploymentJournalSubject;
    const pending = async (journal: DeploymentJournal) => value(await journal.pending());
    const begin = async (path?: string) => value(await subject.journal.begin(record(path)));
    beforeEach(async () => {
      subject = await create();
    });
    afterEach(() => subject.dispose());

    it('nothing is pending at first, nor while the process lives', async () => {
      expect(await pending(subject.journal)).toEqual([]);
      await begin();
      expect(await pending(subject.journal)).toEqual([]);
    });

    it('tells what a deployment that holds has written, while its backup is kept', async () => {
      const { journal } = subject;
      const wrote = async (after: string, path = '/etc/a') => value(await journal.wrote(path, after));
      const id = await begin('/etc/a');
      expect(await wrote('ab'.repeat(32))).toBe(false);
      value(await journal.end(id, 1));
      expect(await wrote('ab'.repeat(32))).toBe(true);
      expect(await wrote('cd'.repeat(32))).toBe(false);
      expect(await wrote('cd'.repeat(32), '/etc/a.key')).toBe(true);
      value(await journal.end(await begin('/etc/a'), 0));
      expect(await wrote('ab'.repeat(32))).toBe(false);
    });

    it('what was begun is pending after a crash, whole, with how often a reload was noted', async () => {
      const [first, second] = [await begin('/etc/a'), await begin('/etc/b')];
      for (let time = 0; time < 2; time += 1) value(await subject.journal.noteReload(second));
      const found = await pending(await subject.crash());
      expect(found).toEqual([
        { id: first, record: record('/etc/a'), reloads: 0 },
        { id: second, record: record('/etc/b'), reloads: 2 },
      ]);
    });

    it('what has ended is a backup, what was forgotten is none, and neither is pending', async () => {
      const [ended, forgotten] = [await begin('/etc/a'), await begin('/etc/b')];
      value(await subject.journal.end(ended, 3));
      value(await subject.journal.forget(forgotten));
      expect(await subject.backups()).toBe(1);
      expect(await pending(await subject.crash())).toEqual([]);
    });

    it('as many backups are kept as asked for, of each set of files', async () => {
      for (let round = 0; round < 4; round += 1)
        for (const path of ['/etc/a', '/etc/b']) value(await subject.journal.end(await begin(path), 2));
      expect(await subject.backups()).toBe(4);
      value(await subject.journal.end(await begin('/etc/a'), 0));
      expect(await subject.backups()).toBe(2);
    });

    it('a new deployment of the same files supersedes one that is pending, whose contents become a backup', async () => {
      await begin();
      const second = await begin();
      expect(await subject.backups()).toBe(1);
      expect((await pending(await subject.crash())).map(({ id }) => id)).toEqual([second]);
    });
  });
}
