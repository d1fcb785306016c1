import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { appendFile } from '../../../../src/adapters/text-log/append-file.js';

function inTemporaryDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 'events.json');
}

function appending(path: string) {
  const instead: string[] = [];
  const failed: string[] = [];
  const file = appendFile(path, {
    write: (line, level) => instead.push(`${level} ${line}`),
    failed: (reason) => failed.push(reason),
  });
  onTestFinished(() => file.close());
  return { file, instead, failed };
}

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

it('a new file has mode 0640, whatever the umask', () => {
  for (const umask of [0o000, 0o077]) {
    const path = inTemporaryDirectory();
    const before = process.umask(umask);
    onTestFinished(() => void process.umask(before));
    appending(path).file.write('one', 'info');
    process.umask(before);
    expect(mode(path)).toBe('640');
  }
});

it('a file that is there keeps its mode and what it holds', () => {
  const path = inTemporaryDirectory();
  writeFileSync(path, 'old\n', { mode: 0o600 });
  appending(path).file.write('new', 'info');
  expect(readFileSync(path, 'utf8')).toBe('old\nnew\n');
  expect(mode(path)).toBe('600');
});

it('two processes append to one file', () => {
  const path = inTemporaryDirectory();
  const [one, other] = [appending(path).file, appending(path).file];
  one.write('a', 'info');
  other.write('b', 'info');
  one.write('c', 'info');
  expect(readFileSync(path, 'utf8')).toBe('a\nb\nc\n');
});

it.each([
  ['and nothing is in its place', () => undefined],
  ['and made anew, as logrotate does', (path: string) => writeFileSync(path, '', { mode: 0o600 })],
])('the next line after the file was moved away %s goes to the file of that name', (_what, create) => {
  const path = inTemporaryDirectory();
  const { file, failed } = appending(path);
  file.write('one', 'info');
  renameSync(path, `${path}.1`);
  create(path);
  file.write('two', 'info');
  file.write('three', 'info');
  expect([readFileSync(`${path}.1`, 'utf8'), readFileSync(path, 'utf8')]).toEqual(['one\n', 'two\nthree\n']);
  expect(failed).toEqual([]);
});

it('nothing is there before the first line', () => {
  const path = inTemporaryDirectory();
  appending(path).file.close();
  expect(existsSync(path)).toBe(false);
});

it('a line that cannot be written goes elsewhere, with its level, and the reason is told once', () => {
  const path = inTemporaryDirectory();
  mkdirSync(path);
  const { file, instead, failed } = appending(path);
  file.write('one', 'info');
  file.write('two', 'warning');
  expect(instead).toEqual(['info one', 'warning two']);
  expect(failed).toEqual([`${path}: EISDIR`]);
  rmSync(path, { recursive: true });
  file.write('three', 'info');
  expect(readFileSync(path, 'utf8')).toBe('three\n');
});

it.skipIf(!existsSync('/dev/full'))('a full disk loses no line (skipped: without /dev/full)', () => {
  const { file, instead, failed } = appending('/dev/full');
  file.write('one', 'info');
  expect(instead).toEqual(['info one']);
  expect(failed).toEqual(['/dev/full: ENOSPC']);
});
