import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { certificateId, keyFileName } from '../../../../src/domain/deploy/certificate-id.js';
import { failure, value } from '../../../contract/result.js';

describe('the id of a certificate', () => {
  it('is letters, digits, dots, underscores and hyphens, up to 128', () => {
    for (const id of ['mc-api-prod', 'a', '...', '.hidden', '-x', 'A_1.b-2', 'x'.repeat(128)])
      expect(value(certificateId(id))).toBe(id);
    expect(keyFileName(value(certificateId('mc-api')))).toBe('mc-api.key');
  });

  it.each([
    ['a way out of the directory', '../../etc/passwd'],
    ['an absolute path', '/etc/passwd'],
    ['a NUL', 'a\0b'],
    ['129 characters', 'x'.repeat(129)],
    ['nothing', ''],
    ['the directory', '.'],
    ['the directory above', '..'],
    ['a line end behind it', 'a\n'],
    ['a backslash', 'a\\b'],
    ['letters of another script', 'сert'],
    ['a space', 'a b'],
  ])('is not %s', (_what, id) => {
    expect(failure(certificateId(id))).toContain('certificate_id');
  });

  it('never names a file outside of the directory, and two ids never name the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) =>
        certificateId(text).match(
          (id) => !keyFileName(id).includes('/') && keyFileName(id) === `${text}.key`,
          () => true,
        ),
      ),
    );
  });

  it('a refusal is one line whatever the id', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) =>
        certificateId(`${text}/`).match(
          () => false,
          (reason) => !/[\p{Cc}]/u.test(reason) && reason.length < 250,
        ),
      ),
    );
  });
});
