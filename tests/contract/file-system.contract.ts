import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FileSystem } from '../../src/ports/file-system.js';
import { failure, value } from './result.js';

/** A file system for one test. */
export interface FileSystemSubject {
  readonly files: FileSystem;
  /** An existing directory, absolute, with every link resolved, in which only the files given to `create` are. */
  readonly directory: string;
  /** Permission bits of a file. */
  readonly modeOf: (path: string) => Promise<number>;
  /** Makes this user id the owner of a file. */
  readonly give: (path: string, uid: number) => Promise<void>;
  /** Called after the test. */
  readonly dispose: () => Promise<void>;
}

/** Path relative to the directory, what is in the file, and its permission bits. */
export type InitialFiles = Readonly<Record<string, { readonly text: string; readonly mode: number }>>;

const INITIAL: InitialFiles = {
  'agent.conf': { text: 'port = 7443\n', mode: 0o640 },
  'scripts/backup': { text: '#!/bin/sh\n', mode: 0o755 },
  'scripts/open': { text: '', mode: 0o757 },
  'scripts/shared': { text: '', mode: 0o664 },
  umlaut: { text: 'größe', mode: 0o644 },
};

/** What holds for every `FileSystem`. `create` makes one with these files. */
export function fileSystemContract(
  name: string,
  create: (initial: InitialFiles) => Promise<FileSystemSubject>,
): void {
  describe(`file system contract: ${name}`, () => {
    let subject: FileSystemSubject;
    const at = (path: string) => `${subject.directory}/${path}`;
    beforeEach(async () => {
      subject = await create(INITIAL);
    });
    afterEach(() => subject.dispose());

    it('a file is read whole, up to and including the limit', async () => {
      const bytes = value(await subject.files.read(at('umlaut'), 7));
      expect(bytes).toEqual(new TextEncoder().encode('größe'));
    });

    it('a file above the limit is EFBIG, also as text', async () => {
      expect(failure(await subject.files.read(at('umlaut'), 6))).toMatchObject({
        code: 'file_failed',
        path: at('umlaut'),
        reason: 'EFBIG',
      });
      expect(failure(await subject.files.readText(at('umlaut'), 6)).reason).toBe('EFBIG');
    });

    it('text is decoded as UTF-8', async () => {
      expect(value(await subject.files.readText(at('umlaut'), 100))).toBe('größe');
    });

    it('a file that does not exist is ENOENT to read and undefined as text', async () => {
      const error = failure(await subject.files.read(at('none'), 100));
      expect(error).toMatchObject({ path: at('none'), operation: 'read', reason: 'ENOENT' });
      expect(error.message).toContain(at('none'));
      expect(value(await subject.files.readText(at('none'), 100))).toBeUndefined();
      expect(value(await subject.files.readText(at('none/none'), 100))).toBeUndefined();
    });

    it('a directory is made with what is missing above it, and one that is there stays', async () => {
      const made = at('state/deep');
      for (let time = 0; time < 2; time += 1)
        expect((await subject.files.makeDirectory(made, 0o700)).isOk()).toBe(true);
      value(await subject.files.replace(`${made}/note`, 'kept', 0o600));
      value(await subject.files.makeDirectory(made, 0o700));
      expect(value(await subject.files.readText(`${made}/note`, 100))).toBe('kept');
    });

    it('no directory is made in the place of a file, or below one', async () => {
      const taken = await subject.files.makeDirectory(at('agent.conf'), 0o700);
      expect(failure(taken).reason).toBe('EEXIST');
      const below = await subject.files.makeDirectory(at('agent.conf/state'), 0o700);
      expect(failure(below).reason).toBe('ENOTDIR');
    });

    it('a directory is EISDIR to read and to replace', async () => {
      expect(failure(await subject.files.read(at('scripts'), 100)).reason).toBe('EISDIR');
      expect(failure(await subject.files.readText(at('scripts'), 100)).reason).toBe('EISDIR');
      expect(failure(await subject.files.replace(at('scripts'), 'x', 0o644)).reason).toBe('EISDIR');
      expect(value(await subject.files.readText(at('scripts/backup'), 100))).toBe('#!/bin/sh\n');
    });

    it('a directory is listed with files and directories, sorted; without one there is no list', async () => {
      expect(value(await subject.files.list(subject.directory))).toEqual(['agent.conf', 'scripts', 'umlaut']);
      expect(value(await subject.files.list(at('scripts')))).toEqual(['backup', 'open', 'shared']);
      expect(value(await subject.files.list(at('none')))).toBeUndefined();
      value(await subject.files.makeDirectory(at('none'), 0o700));
      expect(value(await subject.files.list(at('none')))).toEqual([]);
      for (const path of ['agent.conf', 'agent.conf/none'])
        expect(failure(await subject.files.list(at(path)))).toMatchObject({
          code: 'file_failed',
          path: at(path),
          reason: 'ENOTDIR',
        });
    });

    it('the real path has no dots, and a path that does not exist has none', async () => {
      expect(value(await subject.files.realPath(at('scripts/../agent.conf')))).toBe(at('agent.conf'));
      expect(value(await subject.files.realPath(at('scripts')))).toBe(at('scripts'));
      expect(failure(await subject.files.realPath(at('none'))).reason).toBe('ENOENT');
    });

    it('executable is a regular file with an execute bit, nothing else', async () => {
      const answers = ['scripts/backup', 'agent.conf', 'scripts', 'none', 'agent.conf/none'].map(
        async (path) => value(await subject.files.isExecutable(at(path))),
      );
      expect(await Promise.all(answers)).toEqual([true, false, false, false, false]);
    });

    it('the head of a file is its first bytes, or all of a shorter one', async () => {
      const head = async (path: string, length: number) =>
        value((await subject.files.head(at(path), length)).map((bytes) => new TextDecoder().decode(bytes)));
      expect(await head('scripts/backup', 2)).toBe('#!');
      expect(await head('scripts/backup', 4096)).toBe('#!/bin/sh\n');
      expect(await head('scripts/open', 4096)).toBe('');
      for (const [path, reason] of [
        ['scripts', 'EISDIR'],
        ['none', 'ENOENT'],
      ] as const)
        expect(failure(await subject.files.head(at(path), 2))).toMatchObject({
          code: 'file_failed',
          path: at(path),
          reason,
        });
    });

    it('finds a fault where somebody else may write, and none where nobody else may', async () => {
      const severities = async (path: string) =>
        value(await subject.files.faults(at(path))).map((fault) => [fault.path, fault.severity]);
      expect(await severities('scripts/open')).toEqual([[at('scripts/open'), 'always']]);
      expect(await severities('scripts/shared')).toEqual([[at('scripts/shared'), 'strict']]);
      for (const path of ['scripts/backup', 'agent.conf', 'scripts', 'none', 'scripts/none/none'])
        expect(await severities(path)).toEqual([]);
    });

    it('heals a file by taking it over', async () => {
      for (const path of ['scripts/open', 'scripts/shared', 'agent.conf']) {
        value(await subject.files.takeOwnership(at(path)));
        expect(value(await subject.files.faults(at(path)))).toEqual([]);
      }
      expect(await subject.modeOf(at('scripts/open'))).toBe(0o755);
      expect(await subject.modeOf(at('agent.conf'))).toBe(0o640);
      expect(failure(await subject.files.takeOwnership(at('none'))).reason).toBe('ENOENT');
    });

    it.skipIf(process.geteuid?.() !== 0)(
      'finds a fault in a file of another account, and heals it (only root can give a file away)',
      async () => {
        await subject.give(at('umlaut'), 65_534);
        expect(value(await subject.files.faults(at('umlaut')))).toMatchObject([
          { path: at('umlaut'), severity: 'strict', heal: `chown root ${at('umlaut')}` },
        ]);
        expect(value(await subject.files.faults(at('umlaut'), [65_534]))).toEqual([]);
        value(await subject.files.takeOwnership(at('umlaut')));
        expect(value(await subject.files.faults(at('umlaut')))).toEqual([]);
      },
    );

    it('replace makes a file with the mode that was asked for', async () => {
      expect((await subject.files.replace(at('new'), 'text\n', 0o600)).isOk()).toBe(true);
      expect(value(await subject.files.readText(at('new'), 100))).toBe('text\n');
      expect(await subject.modeOf(at('new'))).toBe(0o600);
    });

    it('replace keeps the mode of the file that was there', async () => {
      expect((await subject.files.replace(at('agent.conf'), 'port = 1\n', 0o600)).isOk()).toBe(true);
      expect(value(await subject.files.readText(at('agent.conf'), 100))).toBe('port = 1\n');
      expect(await subject.modeOf(at('agent.conf'))).toBe(0o640);
      await subject.files.replace(at('scripts/backup'), '#!/bin/sh\ntrue\n', 0o600);
      expect(value(await subject.files.isExecutable(at('scripts/backup')))).toBe(true);
    });

    it('replace does not make a directory', async () => {
      expect(failure(await subject.files.replace(at('none/new'), 'x', 0o644))).toMatchObject({
        path: at('none/new'),
        operation: 'write',
        reason: 'ENOENT',
      });
      expect(failure(await subject.files.realPath(at('none'))).reason).toBe('ENOENT');
    });

    it('a file is no directory', async () => {
      expect(failure(await subject.files.replace(at('umlaut/new'), 'x', 0o644)).reason).toBe('ENOTDIR');
      expect(failure(await subject.files.read(at('umlaut/new'), 100)).reason).toBe('ENOTDIR');
    });
  });
}
