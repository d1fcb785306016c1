import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLegacySerial, parseLegacyTrust } from '../../../../src/domain/legacy/trust.js';

describe('the trust of older agents', () => {
  it('from 0.9 on is a file of lines with comments, also behind an entry', () => {
    const text = '# Trusted dispatchers\n# serial id\n2 control # the first\n1234567890abcdef second\n';
    expect(parseLegacyTrust(text)).toEqual({
      lines: new Map([
        ['2', 'control'],
        ['1234567890abcdef', 'second'],
      ]),
      warnings: [],
      doubtful: [],
    });
  });

  it('a serial that may stand for two certificates is trusted as it stands, and named', () => {
    expect(parseLegacyTrust('1a control\n')).toMatchObject({
      lines: new Map([['1a', 'control']]),
      doubtful: [{ serial: '1a', dispatcherId: 'control', other: '26' }],
    });
  });

  it('a person who has read the certificate decides: only the one that was read is trusted', () => {
    const read = (certain: string) => parseLegacyTrust('1a control\n', certain);
    expect(read('26')).toMatchObject({ lines: new Map([['26', 'control']]), doubtful: [] });
    expect(read('1a')).toMatchObject({ lines: new Map([['1a', 'control']]), doubtful: [] });
    expect(read('77')).toMatchObject({ lines: new Map([['1a', 'control']]), doubtful: [{ other: '26' }] });
  });

  it('in 0.8 is one serial, whose digits are hex', () => {
    expect(parseLegacySerial('0A\n').lines).toEqual(new Map([['a', 'legacy']]));
    expect(parseLegacySerial('10\n').lines).toEqual(new Map([['10', 'legacy']]));
    expect(parseLegacySerial('10\n11\n').lines.size).toBe(1);
    expect(parseLegacySerial('').warnings).toHaveLength(1);
  });

  it('whatever a file holds, nobody is trusted whom no line names', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.option(fc.stringMatching(/^[0-9]{2}$/), { nil: undefined }),
        (text, certain) => {
          const { lines } = parseLegacyTrust(text, certain);
          expect(lines.size).toBeLessThanOrEqual(text.split('\n').length);
          expect(parseLegacySerial(text).lines.size).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});
