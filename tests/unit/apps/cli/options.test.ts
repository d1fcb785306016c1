import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { asking } from '../../../../src/apps/cli/options.js';
import { failure, value } from '../../../contract/result.js';

const directory = mkdtempSync(join(tmpdir(), 'token-file-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const file = (content: string) => {
  const path = join(directory, 'token');
  writeFileSync(path, content);
  return path;
};

describe('the token of --token-file', () => {
  it.each<[string, string, string]>([
    ['is its first line', 's3cret\nmore\n', 's3cret'],
    ['ends before a carriage return', 's3cret\r\n', 's3cret'],
    ['needs no end of line, and keeps its spaces', ' s3 cret ', ' s3 cret '],
    ['begins after a byte order mark', '\ufeffs3cret\n', 's3cret'],
    ['keeps what looks like a second mark', '\ufeff\ufeffs3cret\n', '\ufeffs3cret'],
  ])('%s', (_what, content, token) => {
    expect(value(asking({ tokenFile: file(content) })).caller?.token).toBe(token);
  });

  it.each(['', '\n', '\ufeff', '\ufeff\r\n', '\nsecond'])('is none in a file that holds %j', (content) => {
    expect(failure(asking({ tokenFile: file(content) }))).toMatchObject({
      code: 'invalid_argument',
      field: '--token-file',
      reason: expect.stringContaining('is empty'),
    });
  });

  it('is none where the file cannot be read, or --token is there, too', () => {
    const missing = failure(asking({ tokenFile: join(directory, 'none') }));
    expect(missing.message).toContain('cannot be read (ENOENT)');
    expect(failure(asking({ tokenFile: file('x'), token: 'x' })).message).toContain('either');
  });
});
