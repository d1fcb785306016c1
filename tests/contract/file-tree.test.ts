import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { nodeFileTree } from '../../src/adapters/files/file-tree.js';
import type { TreeEntry } from '../../src/ports/file-tree.js';
import { type MemoryTreeFile, memoryFileTree } from '../support/memory/file-tree.js';
import { fileTreeContract } from './file-tree.contract.js';

fileTreeContract('memory', async (sample) => {
  const at = (path: string) => `/sample/${path}`;
  const entries = Object.entries(sample).map(([path, file]): [string, MemoryTreeFile] => [
    at(path),
    typeof file === 'string' ? new TextEncoder().encode(file) : { link: at(file.link) },
  ]);
  return { tree: memoryFileTree(new Map(entries)), at, dispose: async () => undefined };
});

const temporary = async () => {
  const directory = await realpath(await mkdtemp(join(tmpdir(), 'file-tree-')));
  return { directory, remove: () => rm(directory, { recursive: true, force: true }) };
};

fileTreeContract('files', async (sample) => {
  const { directory, remove } = await temporary();
  const at = (path: string) => join(directory, path);
  for (const [path, file] of Object.entries(sample)) {
    await mkdir(dirname(at(path)), { recursive: true });
    await (typeof file === 'string' ? writeFile(at(path), file) : symlink(at(file.link), at(path)));
  }
  return { tree: nodeFileTree(), at, dispose: remove };
});

describe('the tree of the file system', () => {
  const walk = async (root: string) => {
    const entries: string[] = [];
    for await (const { kind, path } of nodeFileTree().walk([root], { wanted: () => true, maxBytes: 100 }))
      entries.push(`${kind} ${path.slice(root.length + 1)}`);
    return entries.toSorted();
  };
  const sample = async () => {
    const { directory, remove } = await temporary();
    onTestFinished(remove);
    return directory;
  };

  it('links to directories are not followed, so that none leads in a circle', async () => {
    const root = await sample();
    await mkdir(join(root, 'a/b'), { recursive: true });
    await writeFile(join(root, 'a/b/x'), '1');
    await symlink(root, join(root, 'a/up'));
    await symlink('self', join(root, 'a/self'));
    await symlink('/etc', join(root, 'a/etc'));
    expect(await walk(root)).toEqual(['file a/b/x']);
  });

  it('a directory that is a link itself is followed', async () => {
    const root = await sample();
    await mkdir(join(root, 'real'));
    await writeFile(join(root, 'real/x'), '1');
    await symlink('real', join(root, 'link'));
    expect(await walk(join(root, 'link'))).toEqual(['file x']);
  });

  it('a name that is not UTF-8 is told, with its bytes, and the walk goes on', async () => {
    const root = await sample();
    const odd = (name: string) => Buffer.concat([Buffer.from(`${root}/`), Buffer.from(name, 'latin1')]);
    await writeFile(odd('ä\xff.pem'), '1');
    await writeFile(odd('\xff.key'), '1');
    await mkdir(odd('d\x80'));
    await writeFile(odd('d\x80/below.pem'), '1');
    await writeFile(join(root, 'ü.pem'), '1');
    await symlink(odd('ä\xff.pem'), join(root, 'link.pem'));
    await symlink(odd('ä\xff.pem'), odd('\xfe.pem'));
    const wanted = (path: string) => path.endsWith('.pem');
    const entries: TreeEntry[] = [];
    for await (const entry of nodeFileTree().walk([root], { wanted, maxBytes: 100 })) entries.push(entry);
    const told = entries.map((entry) => (entry.kind === 'failed' ? entry.reason : entry.path));
    const failed = (name: string) => `cannot read ${root}/${name}: a name that is not UTF-8 (EILSEQ)`;
    expect(told.toSorted()).toEqual(
      [...['d\\x80', '\\xe4\\xff.pem', '\\xfe.pem', 'link.pem'].map(failed), join(root, 'ü.pem')].toSorted(),
    );
  });

  it('a directory that a link takes the place of during the walk is not followed', async () => {
    const root = await sample();
    for (const name of ['walked/a/b', 'walked/c', 'secret/b'])
      await mkdir(join(root, name), { recursive: true });
    for (const name of ['walked/first', 'secret/x', 'secret/b/x']) await writeFile(join(root, name), '1');
    const told: string[] = [];
    const options = { wanted: () => true, maxBytes: 100 };
    for await (const { path } of nodeFileTree().walk([join(root, 'walked')], options)) {
      if (told.length === 0)
        for (const name of ['a', 'c']) {
          await rename(join(root, 'walked', name), join(root, `${name}-moved`));
          await symlink('../secret', join(root, 'walked', name));
        }
      told.push(path);
    }
    expect(told).toEqual([join(root, 'walked/first')]);
  });

  it('neither pipes nor devices are opened, by themselves or by a link', async () => {
    const root = await sample();
    execFileSync('mkfifo', [join(root, 'pipe.pem')]);
    await symlink(join(root, 'pipe.pem'), join(root, 'link.pem'));
    await symlink('/dev/zero', join(root, 'zero.pem'));
    expect(await walk(root)).toEqual([]);
  });

  it.skipIf(process.getuid?.() === 0)('what may not be read is told, and the walk goes on', async () => {
    const root = await sample();
    await mkdir(join(root, 'closed'));
    await writeFile(join(root, 'closed-file'), '');
    await writeFile(join(root, 'x'), '1');
    await chmod(join(root, 'closed'), 0);
    await chmod(join(root, 'closed-file'), 0);
    expect(await walk(root)).toEqual(['failed closed', 'failed closed-file', 'file x']);
    await chmod(join(root, 'closed'), 0o700);
  });
});
