import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeploymentFiles } from '../../src/ports/deployment-files.js';

export interface DeploymentFilesSubject {
  readonly files: DeploymentFiles;
  /** An existing, empty directory with every link resolved. */
  readonly directory: string;
  readonly dispose: () => Promise<void>;
}

export function deploymentFilesContract(name: string, create: () => Promise<DeploymentFilesSubject>): void {
  describe(`deployment files contract: ${name}`, () => {
    let subject: DeploymentFilesSubject;
    const at = (path: string) => `${subject.directory}/${path}`;
    const bytes = (text: string) => new TextEncoder().encode(text);
    const write = async (path: string, text: string, mode = 0o640) => {
      const file = { path, content: bytes(text), mode, owner: undefined, group: undefined };
      const staged = (await subject.files.stage(file))._unsafeUnwrap();
      (await subject.files.place(staged))._unsafeUnwrap();
    };
    const look = async (path: string) => (await subject.files.look(path))._unsafeUnwrap().state;
    beforeEach(async () => {
      subject = await create();
    });
    afterEach(() => subject.dispose());

    it('a file is placed with its content and mode, and what was there is gone', async () => {
      await write(at('cert.pem'), 'old', 0o600);
      await write(at('cert.pem'), 'new', 0o644);
      expect(await look(at('cert.pem'))).toMatchObject({ content: bytes('new'), mode: 0o644 });
    });

    it('a staged file changes nothing until it is placed, and nothing at all when it is discarded, twice too', async () => {
      await write(at('cert.pem'), 'old');
      const file = {
        path: at('cert.pem'),
        content: bytes('new'),
        mode: 0o600,
        owner: undefined,
        group: undefined,
      };
      const staged = (await subject.files.stage(file))._unsafeUnwrap();
      expect(staged.temporary.slice(subject.directory.length)).toMatch(/^\/\./);
      expect(await look(staged.temporary)).toMatchObject({ content: bytes('new') });
      for (let time = 0; time < 2; time += 1) (await subject.files.discard(staged))._unsafeUnwrap();
      expect(await look(staged.temporary)).toBeUndefined();
      expect(await look(at('cert.pem'))).toMatchObject({ content: bytes('old') });
      expect((await subject.files.place(staged)).isErr()).toBe(true);
    });

    it('a file that is not there has no state, one that is removed neither, twice too', async () => {
      expect(await look(at('none'))).toBeUndefined();
      await write(at('cert.pem'), 'old');
      for (let time = 0; time < 2; time += 1) (await subject.files.remove(at('cert.pem')))._unsafeUnwrap();
      expect(await look(at('cert.pem'))).toBeUndefined();
      (await subject.files.sync([at('cert.pem'), at('other')]))._unsafeUnwrap();
      (await subject.files.sweep([at('cert.pem')]))._unsafeUnwrap();
    });

    it('a directory is no file, and one that is not there is ENOENT to look at, to write to and to resolve', async () => {
      expect((await subject.files.look(subject.directory))._unsafeUnwrapErr().reason).toBe('EISDIR');
      expect((await subject.files.look(at('none/cert.pem')))._unsafeUnwrapErr().reason).toBe('ENOENT');
      const file = {
        path: at('none/x'),
        content: bytes(''),
        mode: 0o600,
        owner: undefined,
        group: undefined,
      };
      expect((await subject.files.stage(file))._unsafeUnwrapErr().reason).toBe('ENOENT');
      expect((await subject.files.realDirectory(at('none')))._unsafeUnwrapErr().reason).toBe('ENOENT');
      expect((await subject.files.realDirectory(subject.directory))._unsafeUnwrap()).toBe(subject.directory);
    });

    it('more than 1 MiB is EFBIG', async () => {
      await write(at('large'), 'x'.repeat(1024 * 1024 + 1));
      expect((await subject.files.look(at('large')))._unsafeUnwrapErr().reason).toBe('EFBIG');
    });

    it('an owner that nobody knows is EINVAL, and nothing is left', async () => {
      const file = {
        path: at('cert.pem'),
        content: bytes('x'),
        mode: 0o600,
        owner: 'no-such-user',
        group: undefined,
      };
      expect((await subject.files.stage(file))._unsafeUnwrapErr().reason).toBe('EINVAL');
      expect(await look(at('cert.pem'))).toBeUndefined();
    });
  });
}
