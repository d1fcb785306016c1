import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, open, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { readAcl } from '../../src/adapters/files/deploy/acl.js';
import { nodeDeploymentFiles } from '../../src/adapters/files/deploy/deployment-files.js';
import { failure, value } from './result.js';

const hasTools = spawnSync('setfacl', ['--version']).status === 0;

describe.skipIf(!hasTools)('access control lists (needs the package acl)', () => {
  const files = nodeDeploymentFiles();
  let directory: string;
  const at = (name: string) => join(directory, name);
  const setAcl = (list: string, ...more: string[]) => execFileSync('setfacl', ['-m', list, ...more]);
  const aclOf = (path: string) =>
    execFileSync('getfacl', ['-cpnE', path], { encoding: 'utf8' }).trim().split('\n');
  const file = (change: object = {}) => ({
    path: at('key.pem'),
    content: new TextEncoder().encode('new'),
    mode: 0o640,
    owner: undefined,
    group: undefined,
    ...change,
  });
  beforeEach(async () => {
    directory = await realpath(await mkdtemp(join(tmpdir(), 'ctrl-exec-acl-')));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it('the list of a file is kept, and the mask does not become the right of the group', async () => {
    await writeFile(at('key.pem'), 'old', { mode: 0o600 });
    setAcl('u:1000:r--,g::---,m::r--', at('key.pem'));
    const before = aclOf(at('key.pem'));
    const state = value(await files.look(at('key.pem'))).state;
    expect(state).toMatchObject({ mode: 0o600, acl: before.join(',') });
    const staged = value(await files.stage(file({ mode: state?.mode, acl: state?.acl })));
    expect(aclOf(staged.temporary)).toEqual(before);
    value(await files.place(staged));
    expect(aclOf(at('key.pem'))).toEqual(before);
    expect(value(await files.look(at('key.pem'))).state).toMatchObject({ mode: 0o600, acl: state?.acl });
  });

  it('a file without a list gets none from its directory', async () => {
    setAcl('d:u:1000:rw-,d:g::rw-', directory);
    const staged = value(await files.stage(file()));
    expect(aclOf(staged.temporary)).toEqual(['user::rw-', 'group::r--', 'other::---']);
    expect((await stat(staged.temporary)).mode & 0o777).toBe(0o640);
  });

  it('a list that cannot be read for want of the package is an error, and a file without one is not', async () => {
    await symlink('/bin/ls', at('ls'));
    await writeFile(at('key.pem'), 'old');
    const handle = await open(at('key.pem'));
    onTestFinished(() => handle.close());
    expect(await readAcl(handle, [directory])).toBeUndefined();
    setAcl('u:1000:r--', at('key.pem'));
    await expect(readAcl(handle, [directory])).rejects.toThrow('install the package acl');
  });

  it('a list that cannot be set is an error, and nothing is left', async () => {
    const list = 'user:1000:r--,mask::r--';
    expect(failure(await files.stage(file({ acl: list }))).message).toContain('setfacl exited with');
    expect((await stat(directory)).nlink).toBe(2);
    expect(execFileSync('ls', ['-A', directory], { encoding: 'utf8' })).toBe('');
  });
});
