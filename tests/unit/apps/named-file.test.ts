import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readNamedFile } from '../../../src/apps/named-file.js';
import { temporaryDirectory } from '../../support/commands/commands.js';

const codeOf = (path: string) => {
  try {
    readNamedFile(path);
    return 'none';
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code;
  }
};

it('a file that an option names is read up to 64 KiB, and no further', () => {
  const path = join(temporaryDirectory(), 'token');
  writeFileSync(path, 'é'.repeat(32 * 1024));
  expect(readNamedFile(path)).toBe('é'.repeat(32 * 1024));
  writeFileSync(path, 'x'.repeat(64 * 1024 + 1));
  expect(codeOf(path)).toBe('EFBIG');
});

it('a file without end is not read to its end', () => {
  expect(codeOf('/dev/zero')).toBe('EFBIG');
});

it('what cannot be read fails with the code of the system', () => {
  expect(codeOf('/')).toBe('EISDIR');
  expect(codeOf('/nowhere')).toBe('ENOENT');
});
