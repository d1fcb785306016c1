import { expect, it } from 'vitest';
import { type AccessCalls, whyDenied } from '../../../../src/domain/core/file-access.js';

interface Node {
  readonly owner: readonly [uid: number, gid: number];
  readonly mode: number;
}

/** The calls of account 1000, in group 1000 only. */
function account(nodes: Readonly<Record<string, Node>>, euid = 1000): AccessCalls {
  const rights = ({ owner, mode }: Node) =>
    owner[0] === 1000 ? mode >> 6 : owner[1] === 1000 ? mode >> 3 : mode;
  const visible = (path: string): Node => {
    const above = path.split('/').map((_, index, names) => names.slice(0, index).join('/') || '/');
    for (const directory of above.slice(1))
      if (directory !== path && (rights(nodes[directory] as Node) & 1) === 0) throw new Error('EACCES');
    const node = nodes[path];
    if (node === undefined) throw new Error('ENOENT');
    return node;
  };
  return {
    geteuid: () => euid,
    statSync: (path) => {
      const { owner, mode } = visible(path);
      return { uid: owner[0], gid: owner[1], mode: mode | 0o100000 };
    },
    accessSync: (path, wanted) => {
      if ((rights(visible(path)) & wanted) !== wanted) throw new Error('EACCES');
    },
    readFileSync: (path) =>
      path === '/etc/passwd' ? 'root:x:0:0::/root:\nced:x:7:7::/:' : 'root:x:0:\nops:x:7:',
  };
}

const root: Node = { owner: [0, 0], mode: 0o755 };
const home = { '/': root, '/home': root };

it.each<[string, Record<string, Node>, string | undefined]>([
  [
    'a file of root alone',
    { '/home/key': { owner: [0, 0], mode: 0o600 } },
    'it belongs to root:root, mode 0600: run this as root (sudo)',
  ],
  [
    'a file that a group may read',
    { '/home/key': { owner: [0, 7], mode: 0o640 } },
    'it belongs to root:ops, mode 0640: run this as root (sudo), or as a member of the group ops',
  ],
  [
    'a file of another account',
    { '/home/key': { owner: [7, 7], mode: 0o600 } },
    'it belongs to ced:ops, mode 0600: run this as ced (sudo -u ced)',
  ],
  [
    'a file of an account without a name',
    { '/home/key': { owner: [4242, 4243], mode: 0o600 } },
    "it belongs to 4242:4243, mode 0600: run this as 4242 (sudo -u '#4242')",
  ],
  [
    'a directory on the way',
    { '/home': { owner: [0, 7], mode: 0o710 }, '/home/key': { owner: [1000, 1000], mode: 0o600 } },
    '/home belongs to root:ops, mode 0710: run this as root (sudo), or as a member of the group ops',
  ],
  [
    'a directory that nothing can be put into',
    {},
    '/home belongs to root:root, mode 0755: run this as root (sudo)',
  ],
  ['nothing that can be seen', { '/home': { owner: [1000, 1000], mode: 0o700 } }, undefined],
])('says who may where what is in the way is %s', (_what, nodes, said) => {
  expect(whyDenied('/home/key', account({ ...home, ...nodes }))).toBe(said);
});

it('says nothing to root, to whom other things are denied', () => {
  expect(whyDenied('/home/key', account(home, 0))).toBeUndefined();
});
