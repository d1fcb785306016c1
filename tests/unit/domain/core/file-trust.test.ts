import { describe, expect, it } from 'vitest';
import {
  believe,
  type FileFault,
  type FileOnTheWay,
  faultText,
  fileFault,
  refusing,
} from '../../../../src/domain/core/file-trust.js';
import { failure, value } from '../../../contract/result.js';

const file = (change: Partial<FileOnTheWay>): FileOnTheWay => ({
  path: '/etc/x',
  kind: 'file',
  uid: 0,
  mode: 0o644,
  ...change,
});
const directory = (change: Partial<FileOnTheWay>) => file({ kind: 'directory', mode: 0o755, ...change });
const said = (found: FileOnTheWay, owners = [0]) => {
  const fault = fileFault(found, owners);
  return fault && `${fault.severity}: ${faultText(fault)}`;
};

describe('a file is trusted', () => {
  it.each([
    ['of root, writable by root alone', file({})],
    ['of root, readable by nobody else', file({ mode: 0o600 })],
    ['in a directory that is sticky and belongs to root', directory({ mode: 0o1777 })],
    ['behind a link of root, whose mode says nothing', file({ kind: 'link', mode: 0o777 })],
  ])('%s', (_, found) => {
    expect(said(found)).toBeUndefined();
  });

  it('of the own account as well as of root', () => {
    expect(said(file({ uid: 1000 }), [1000, 0])).toBeUndefined();
    expect(said(file({ uid: 0 }), [1000, 0])).toBeUndefined();
  });
});

describe('a file is not trusted', () => {
  it.each([
    [
      'of another account',
      file({ uid: 65534 }),
      'strict: /etc/x belongs to uid 65534, expected root: chown root /etc/x',
    ],
    [
      'writable by its group',
      file({ mode: 0o664 }),
      'strict: /etc/x is writable by its group: chmod go-w /etc/x',
    ],
    [
      'writable by everybody',
      file({ mode: 0o666 }),
      'always: /etc/x is writable by everybody: chmod go-w /etc/x',
    ],
    [
      'both at once, and one line heals it',
      file({ uid: 7, mode: 0o777 }),
      'always: /etc/x belongs to uid 7, expected root and is writable by everybody: chown root /etc/x && chmod go-w /etc/x',
    ],
    [
      'in a directory that everybody can write',
      directory({ mode: 0o777 }),
      'always: directory /etc/x is writable by everybody: chmod go-w /etc/x',
    ],
    [
      'in a sticky directory of another account',
      directory({ uid: 7, mode: 0o1777 }),
      'always: directory /etc/x belongs to uid 7, expected root and is writable by everybody: chown root /etc/x && chmod go-w /etc/x',
    ],
    [
      'behind a link of another account',
      file({ kind: 'link', uid: 7, mode: 0o777 }),
      'strict: link /etc/x belongs to uid 7, expected root: chown -h root /etc/x',
    ],
    [
      'that is sticky, which means something for directories alone',
      file({ mode: 0o1666 }),
      'always: /etc/x is writable by everybody: chmod go-w /etc/x',
    ],
  ])('%s', (_, found, expected) => {
    expect(said(found)).toBe(expected);
  });

  it('and its path can be pasted into a shell', () => {
    expect(said(file({ path: "/etc/it's here", mode: 0o664 }))).toContain(`chmod go-w '/etc/it'\\''s here'`);
  });
});

describe('refusing', () => {
  const fault = (severity: FileFault['severity']): FileFault => ({
    path: '/x',
    severity,
    reason: severity,
    heal: '',
  });
  it('what everybody decides is refused, whatever the setting', () => {
    expect(refusing([fault('strict'), fault('always')], 'warn')?.severity).toBe('always');
  });
  it('another account or a group is refused where it is strict', () => {
    expect(refusing([fault('strict')], 'strict')?.severity).toBe('strict');
    expect(refusing([fault('strict')], 'warn')).toBeUndefined();
    expect(refusing([], 'strict')).toBeUndefined();
  });
});

describe('believing what was judged', () => {
  const fault = (path: string, severity: FileFault['severity']): FileFault => ({
    path,
    severity,
    reason: `directory ${path} is shared`,
    heal: `chmod go-w ${path}`,
  });

  it('names the file, and what on the way to it is wrong', () => {
    const error = failure(believe([{ path: '/opt/a/b', faults: [fault('/opt', 'strict')] }], 'strict'));
    expect(error).toMatchObject({ code: 'file_failed', path: '/opt/a/b', operation: 'trust' });
    expect(error.message).toBe('/opt/a/b is not trusted: directory /opt is shared: chmod go-w /opt');
  });

  it('warns of each fault once', () => {
    const judged = ['/opt/a', '/opt/b'].map((path) => ({ path, faults: [fault('/opt', 'strict')] }));
    expect(value(believe(judged, 'warn'))).toEqual(['directory /opt is shared: chmod go-w /opt']);
    expect(value(believe([{ path: '/x', faults: [] }], 'strict'))).toEqual([]);
  });
});
