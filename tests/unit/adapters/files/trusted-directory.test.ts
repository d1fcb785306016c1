import { chmod, mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { trustedDirectory } from '../../../../src/adapters/files/trusted-directory.js';

/** As `geteuid` says: whose files are believed, and how strictly. */
const as = (user: number) => vi.spyOn(process, 'geteuid').mockReturnValue(user);

it('a directory that its group can write is refused to root, and taken from everybody else, as umask 002 makes it', async () => {
  const me = process.getuid?.() ?? 0;
  const above = await realpath(await mkdtemp(join(tmpdir(), 'ctrl-exec-trusted-')));
  onTestFinished(async () => {
    vi.restoreAllMocks();
    await rm(above, { recursive: true });
  });
  const path = join(above, 'keys');
  await mkdir(path);
  for (const each of [above, path]) {
    await chmod(each, 0o775);
    as(0);
    expect(() => trustedDirectory(path)).toThrow(me === 0 ? 'is writable by its group' : 'belongs to');
    as(me === 0 ? 4242 : me);
    trustedDirectory(path).close();
    await chmod(each, 0o777);
    expect(() => trustedDirectory(path)).toThrow('is writable by everybody');
    await chmod(each, 0o755);
  }
});
