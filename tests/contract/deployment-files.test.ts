import {
  chmod,
  chown,
  link,
  mkdir,
  mkdtemp,
  readdir,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeDeploymentFiles } from '../../src/adapters/files/deploy/deployment-files.js';
import { asRoot } from '../support/as-root.js';
import { run } from '../support/deployment/server.js';
import { memoryDeploymentFiles } from '../support/memory/deployment-files.js';
import { deploymentFilesContract } from './deployment-files.contract.js';
import { failure, value } from './result.js';

const temporary = async () => realpath(await mkdtemp(join(tmpdir(), 'ctrl-exec-deployment-files-')));

deploymentFilesContract('memory', async () => ({
  files: memoryDeploymentFiles(['/etc/tls']),
  directory: '/etc/tls',
  dispose: async () => undefined,
}));

deploymentFilesContract('files', async () => {
  const directory = await temporary();
  const dispose = () => rm(directory, { recursive: true, force: true });
  return { files: nodeDeploymentFiles(), directory, dispose };
});

describe('files of this host', () => {
  const files = nodeDeploymentFiles();
  let directory: string;
  const at = (name: string) => join(directory, name);
  const file = (path: string, change: object = {}) => ({
    path,
    content: new TextEncoder().encode('new'),
    mode: 0o640,
    owner: undefined,
    group: undefined,
    ...change,
  });
  beforeEach(async () => {
    directory = await temporary();
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('a link is followed to what it points to; a link to nothing is ENOENT; what is no file is EINVAL', async () => {
    await mkdir(at('live'));
    await writeFile(at('live/cert.pem'), 'old');
    await symlink(at('live/cert.pem'), at('cert.pem'));
    await symlink(at('nothing'), at('dangling.pem'));
    expect(value(await files.look(at('cert.pem'))).path).toBe(at('live/cert.pem'));
    expect(failure(await files.look(at('dangling.pem'))).message).toBe(
      `cannot read ${at('dangling.pem')}: it is a link to a file that does not exist (ENOENT)`,
    );
    await run('mkfifo', [at('pipe')]);
    expect(failure(await files.look(at('pipe'))).reason).toBe('EINVAL');
  });

  it('a directory that is missing, or is none, is what the failure names', async () => {
    await writeFile(at('file'), '');
    const missing = `cannot use directory ${at('none')}: it does not exist: create it first (ENOENT)`;
    const held = files.hold();
    try {
      for (const each of [files, held]) {
        const failures = [
          await each.look(at('none/cert.pem')),
          await each.stage(file(at('none/cert.pem'))),
          await each.realDirectory(at('none')),
        ];
        expect(failures.map((outcome) => failure<{ message: string }>(outcome).message)).toEqual([
          missing,
          missing,
          missing,
        ]);
        expect(failure(await each.look(at('file/cert.pem'))).message).toBe(
          `cannot use directory ${at('file')}: not a directory (ENOTDIR)`,
        );
      }
    } finally {
      held.release();
    }
  });

  asRoot('owner and group are given by name or number, before the mode', async () => {
    const staged = value(await files.stage(file(at('key'), { owner: 'daemon', group: '1' })));
    expect(await stat(staged.temporary)).toMatchObject({ uid: 1, gid: 1, mode: 0o100640 });
  });

  asRoot('a file that others have linked to is not written to', async () => {
    await writeFile(at('cert.pem'), 'old');
    await link(at('cert.pem'), at('elsewhere'));
    const staged = value(await files.stage(file(at('cert.pem'))));
    value(await files.place(staged));
    expect(value(await files.look(at('elsewhere'))).state?.content).toEqual(
      new Uint8Array(Buffer.from('old')),
    );
  });

  it('what a process that is gone has left is swept, what is ours is not', async () => {
    const dead = '.cert.pem.tmp-999999999-1-00000000000000000000000000000000-4026531836-0123456789abcdef';
    await writeFile(at(dead), 'secret');
    const staged = value(await files.stage(file(at('cert.pem'))));
    value(await files.sweep([at('cert.pem')]));
    expect(await readdir(directory)).toEqual([staged.temporary.slice(directory.length + 1)]);
  });

  asRoot('a read-only directory and a full disk are refused, and nothing is left', async () => {
    await mkdir(at('full'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=4k,mode=0755', 'tmpfs', at('full')]);
    try {
      const large = file(at('full/cert.pem'), { content: new Uint8Array(64 * 1024) });
      expect(failure(await files.stage(large)).reason).toBe('ENOSPC');
      expect(await readdir(at('full'))).toEqual([]);
      await run('mount', ['-o', 'remount,ro', at('full')]);
      expect(failure(await files.stage(file(at('full/cert.pem')))).reason).toBe('EROFS');
    } finally {
      await run('umount', [at('full')]);
    }
  });

  asRoot('the owner of what was there is given to what replaces it', async () => {
    await writeFile(at('key'), 'old');
    await chown(at('key'), 1, 1);
    await chmod(at('key'), 0o440);
    const before = value(await files.look(at('key'))).state;
    expect(before).toMatchObject({ uid: 1, gid: 1, mode: 0o440 });
    const staged = value(await files.stage(file(at('key'), { owner: before?.uid, group: before?.gid })));
    expect(await stat(staged.temporary)).toMatchObject({ uid: 1, gid: 1 });
  });
});
