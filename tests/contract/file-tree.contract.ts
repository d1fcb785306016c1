import { afterEach, describe, expect, it } from 'vitest';
import type { FileTree, TreeEntry, TreeWalk } from '../../src/ports/file-tree.js';

/** A file with text, or a link to a path of the sample. */
export type Sample = Readonly<Record<string, string | { readonly link: string }>>;

export interface FileTreeSubject {
  readonly tree: FileTree;
  /** The absolute path of a path of the sample. */
  readonly at: (path: string) => string;
  readonly dispose: () => Promise<void>;
}

export function fileTreeContract(name: string, create: (sample: Sample) => Promise<FileTreeSubject>): void {
  describe(`file tree: ${name}`, () => {
    let subject: FileTreeSubject;
    afterEach(() => subject.dispose());

    const walk = async (directories: readonly string[], options: Partial<TreeWalk> = {}) => {
      const entries: TreeEntry[] = [];
      const roots = directories.map((path) => subject.at(path));
      for await (const entry of subject.tree.walk(roots, { wanted: () => true, maxBytes: 1000, ...options }))
        entries.push(entry);
      return entries;
    };
    const texts = (entries: readonly TreeEntry[]) =>
      Object.fromEntries(
        entries.map((entry) => [
          entry.path,
          entry.kind === 'file' ? new TextDecoder().decode(entry.bytes) : entry.kind,
        ]),
      );

    it('every file below the directories is found, under the path that leads there', async () => {
      subject = await create({ 'a/one': '1', 'a/b/c/two': '2', 'd/three': '3', 'e/four': '4' });
      expect(texts(await walk(['a', 'd']))).toEqual({
        [subject.at('a/one')]: '1',
        [subject.at('a/b/c/two')]: '2',
        [subject.at('d/three')]: '3',
      });
    });

    it('what is not wanted and what is larger than the limit is passed over in silence', async () => {
      subject = await create({ 'a/x.pem': 'x'.repeat(1000), 'a/y.pem': 'y'.repeat(1001), 'a/z.key': 'z' });
      const found = await walk(['a'], { wanted: (path) => path.endsWith('.pem') });
      expect(found.map(({ path }) => path)).toEqual([subject.at('a/x.pem')]);
    });

    it('links are followed within the directories, and not out of them', async () => {
      subject = await create({
        'a/real': 'real',
        'a/inside': { link: 'a/real' },
        'a/other': { link: 'b/real' },
        'a/outside': { link: 'c/secret' },
        'a/nowhere': { link: 'a/none' },
        'b/real': 'other',
        'c/secret': 'secret',
      });
      expect(texts(await walk(['a', 'b']))).toEqual({
        [subject.at('a/real')]: 'real',
        [subject.at('a/inside')]: 'real',
        [subject.at('a/other')]: 'other',
        [subject.at('b/real')]: 'other',
      });
    });

    it('a link does not make wanted what is not wanted by its own name', async () => {
      subject = await create({ 'a/x.key': 'secret', 'a/x.pem': { link: 'a/x.key' }, 'a/y.pem': 'y' });
      const found = await walk(['a'], { wanted: (path) => path.endsWith('.pem') });
      expect(found.map(({ path }) => path)).toEqual([subject.at('a/y.pem')]);
    });

    it('a directory in another that was named, too, is looked into once', async () => {
      subject = await create({ 'a/b/x': '1' });
      expect(await walk(['a', 'a/b', 'a'])).toHaveLength(1);
    });

    it('a directory that is not there is told, and the others are looked into', async () => {
      subject = await create({ 'a/x': '1' });
      const [missing, ...others] = await walk(['none', 'a']);
      expect(missing).toMatchObject({ kind: 'failed', path: subject.at('none') });
      expect(missing?.kind === 'failed' && missing.reason).toContain(subject.at('none'));
      expect(others).toMatchObject([{ kind: 'file', path: subject.at('a/x') }]);
    });

    it('the signal ends it before the next entry', async () => {
      subject = await create({ 'a/x': '1', 'a/y': '2', 'a/z': '3' });
      const stop = new AbortController();
      let found = 0;
      const options = { wanted: () => true, maxBytes: 10, signal: stop.signal };
      for await (const _entry of subject.tree.walk([subject.at('a')], options)) {
        found += 1;
        stop.abort();
      }
      expect(found).toBe(1);
    });
  });
}
