/** An access control list, one entry each: `user::rw-,user:1000:r--,group::---,mask::r--,other::---`. */
export type Acl = string;

const entry = /^(user|group|mask|other):(\d*):([r-])([w-])([x-])$/;
export const aclForm =
  /^(user|group|mask|other):\d*:[r-][w-][x-](,(user|group|mask|other):\d*:[r-][w-][x-])*$/;

/**
 * Reads what `getfacl` prints. `acl` is undefined where it says no more than the permission bits do; undefined altogether: it
 * cannot be understood.
 */
export function parseAcl(printed: string): { readonly acl: Acl | undefined } | undefined {
  const lines = printed.split('\n').filter((line) => line !== '');
  if (lines.length < 3 || !lines.every((line) => entry.test(line))) return undefined;
  const isExtended = lines.some((line) => /^mask:|:\d+:/.test(line));
  return { acl: isExtended ? lines.join(',') : undefined };
}

const bitsOf = (permissions: string): number =>
  [...permissions].reduce((bits, letter) => bits * 2 + (letter === '-' ? 0 : 1), 0);
const letters = (bits: number): string =>
  [...'rwx'].map((letter, index) => ((bits & (4 >> index)) === 0 ? '-' : letter)).join('');

/** Permission bits with those of the group's own entry: with an ACL the system shows the mask in their place. */
export function modeOfAcl(acl: Acl, mode: number): number {
  const group = /(?:^|,)group::([rwx-]{3})/.exec(acl)?.[1] ?? '---';
  // defence: acl-mask-is-no-group-right
  const bits = bitsOf(group) * 8;
  return (mode & 0o707) | bits;
}

/** The same list with these permission bits for owner, group and others. The mask goes on limiting the group. */
export const aclWithMode = (acl: Acl, mode: number): Acl =>
  acl
    .split(',')
    .map((text) => {
      const kind = /^(user|group|other)::/.exec(text)?.[1];
      if (kind === undefined) return text;
      return `${kind}::${letters((mode >> { user: 6, group: 3, other: 0 }[kind as 'user' | 'group' | 'other']) & 7)}`;
    })
    .join(',');
