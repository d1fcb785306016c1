import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DeploymentFiles } from '../../src/ports/deployment-files.js';
import { failure, value } from './result.js';

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
      const staged = value(await subject.files.stage(file));
      value(await subject.files.place(staged));
    };
    const look = async (path: string) => value(await subject.files.look(path)).state;
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
      const staged = value(await subject.files.stage(file));
      expect(staged.temporary.slice(subject.directory.length)).toMatch(/^\/\./);
      expect(await look(staged.temporary)).toMatchObject({ content: bytes('new') });
      for (let time = 0; time < 2; time += 1) value(await subject.files.discard(staged));
      expect(await look(staged.temporary)).toBeUndefined();
      expect(await look(at('cert.pem'))).toMatchObject({ content: bytes('old') });
      expect((await subject.files.place(staged)).isErr()).toBe(true);
    });

    it('a file that is not there has no state, one that is removed neither, twice too', async () => {
      expect(await look(at('none'))).toBeUndefined();
      await write(at('cert.pem'), 'old');
      for (let time = 0; time < 2; time += 1) value(await subject.files.remove(at('cert.pem')));
      expect(await look(at('cert.pem'))).toBeUndefined();
      value(await subject.files.sync([at('cert.pem'), at('other')]));
      value(await subject.files.sweep([at('cert.pem')]));
    });

    it('a directory is no file, and one that is not there is ENOENT to look at, to write to and to resolve', async () => {
      expect(failure(await subject.files.look(subject.directory)).reason).toBe('EISDIR');
      expect(failure(await subject.files.look(at('none/cert.pem'))).reason).toBe('ENOENT');
      const file = {
        path: at('none/x'),
        content: bytes(''),
        mode: 0o600,
        owner: undefined,
        group: undefined,
      };
      expect(failure(await subject.files.stage(file)).reason).toBe('ENOENT');
      expect(failure(await subject.files.realDirectory(at('none'))).reason).toBe('ENOENT');
      expect(value(await subject.files.realDirectory(subject.directory))).toBe(subject.directory);
    });

    it('more than 1 MiB is EFBIG', async () => {
      await write(at('large'), 'x'.repeat(1024 * 1024 + 1));
      expect(failure(await subject.files.look(at('large'))).reason).toBe('EFBIG');
    });

    it('an owner that nobody knows is EINVAL, and nothing is left', async () => {
      const file = {
        path: at('cert.pem'),
        content: bytes('x'),
        mode: 0o600,
        owner: 'no-such-user',
        group: undefined,
      };
      expect(failure(await subject.files.stage(file)).reason).toBe('EINVAL');
      expect(await look(at('cert.pem'))).toBeUndefined();
    });
  });
}
