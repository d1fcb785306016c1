import { describe, expect, it } from 'vitest';
import { aclForm, aclWithMode, modeOfAcl, parseAcl } from '../../../../src/domain/deploy/acl.js';

const printed = 'user::rw-\nuser:1000:r--\ngroup::---\nmask::r--\nother::---\n\n';
const acl = 'user::rw-,user:1000:r--,group::---,mask::r--,other::---';

describe('access control lists', () => {
  it('are read as getfacl prints them, and what permission bits say as well is none', () => {
    expect(parseAcl(printed)).toEqual({ acl });
    expect(parseAcl('user::rw-\ngroup::r--\nother::---\n')).toEqual({ acl: undefined });
    for (const text of [
      '',
      'getfacl: no such file',
      printed.replace('1000', 'bob'),
      'user::rw-\n# odd\nother::---',
    ])
      expect(parseAcl(text)).toBeUndefined();
    expect(acl).toMatch(aclForm);
    expect(`${acl};x`).not.toMatch(aclForm);
  });

  it('the mode has the right of the group, not the mask that the system shows in its place', () => {
    expect(modeOfAcl(acl, 0o640)).toBe(0o600);
    expect(modeOfAcl(acl.replace('group::---', 'group::r-x'), 0o640)).toBe(0o650);
  });

  it('take the bits of a mode, and keep the mask and what they say of others', () => {
    expect(aclWithMode(acl, 0o600)).toBe(acl);
    expect(aclWithMode(acl, 0o454)).toBe('user::r--,user:1000:r--,group::r-x,mask::r--,other::r--');
  });
});
