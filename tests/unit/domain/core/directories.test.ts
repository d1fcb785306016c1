import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { makeDirectories } from '../../../../src/domain/core/file-access.js';
import { errorCode } from '../../../../src/domain/core/thrown.js';

const root = mkdtempSync(join(tmpdir(), 'ctrl-exec-directories-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const make = (path: string) => makeDirectories(path, 0o750, { mkdirSync, statSync });
const codeOf = (path: string) => {
  try {
    return make(path);
  } catch (thrown) {
    return errorCode(thrown);
  }
};

it('makes what is missing and gives the topmost directory that it made', () => {
  expect(make(join(root, 'a/b/c'))).toBe(join(root, 'a'));
  expect(statSync(join(root, 'a/b/c')).mode & 0o777).toBe(0o750);
  expect(make(join(root, 'a/b/d/'))).toBe(`${join(root, 'a/b/d')}/`);
  expect([make(join(root, 'a/b/c')), make('/'), make(root)]).toEqual([undefined, undefined, undefined]);
});

it('says what the system says below a file', () => {
  writeFileSync(join(root, 'file'), '');
  expect([codeOf(join(root, 'file/x/y')), codeOf(join(root, 'file'))]).toEqual(['ENOTDIR', 'EEXIST']);
});

it.runIf(existsSync('/proc/self'))('ends where nothing can be made', () => {
  expect([codeOf('/proc/nope'), codeOf('/proc/nope/state/x'), codeOf('/dev/null/x')]).toEqual([
    'ENOENT',
    'ENOENT',
    'ENOTDIR',
  ]);
});
