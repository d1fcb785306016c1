import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLegacySerial, parseLegacyTrust } from '../../../../src/domain/legacy/trust.js';

describe('the trust of older agents', () => {
  it('from 0.9 on is a file of lines with comments, also behind an entry', () => {
    const text = '# Trusted dispatchers\n# serial id\n2 control # the first\n1234567890abcdef second\n';
    expect(parseLegacyTrust(text)).toEqual({
      entries: [
        { serial: '2', dispatcherId: 'control' },
        { serial: '1234567890abcdef', dispatcherId: 'second' },
      ],
      warnings: [],
      doubtful: [],
    });
  });

  it('a serial that may stand for two certificates is trusted as it stands, and named', () => {
    const entry = { serial: '1a', dispatcherId: 'control' };
    expect(parseLegacyTrust('1a control\n')).toMatchObject({
      entries: [entry],
      doubtful: [{ entry, other: '26' }],
    });
  });

  it('a person who has read the certificate decides: only the one that was read is trusted', () => {
    const read = (certain: string) => parseLegacyTrust('1a control\n', certain);
    expect(read('26')).toMatchObject({ entries: [{ serial: '26', dispatcherId: 'control' }], doubtful: [] });
    expect(read('1a')).toMatchObject({ entries: [{ serial: '1a' }], doubtful: [] });
    expect(read('77')).toMatchObject({ entries: [{ serial: '1a' }], doubtful: [{ other: '26' }] });
  });

  it('in 0.8 is one serial, whose digits are hex', () => {
    expect(parseLegacySerial('0A\n').entries).toEqual([{ serial: 'a', dispatcherId: 'legacy' }]);
    expect(parseLegacySerial('10\n').entries).toEqual([{ serial: '10', dispatcherId: 'legacy' }]);
    expect(parseLegacySerial('10\n11\n').entries).toHaveLength(1);
    expect(parseLegacySerial('').warnings).toHaveLength(1);
  });

  it('whatever a file holds, nobody is trusted whom no line names', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.option(fc.stringMatching(/^[0-9]{2}$/), { nil: undefined }),
        (text, certain) => {
          const { entries } = parseLegacyTrust(text, certain);
          expect(entries.length).toBeLessThanOrEqual(text.split('\n').length);
          expect(parseLegacySerial(text).entries.length).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});
