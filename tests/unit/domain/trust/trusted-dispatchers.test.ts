import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { legacyDispatcherId } from '../../../../src/domain/core/names.js';
import { formatTrust, parseTrust } from '../../../../src/domain/trust/trusted-dispatchers.js';

const line = fc.tuple(
  fc.bigInt({ min: 1n, max: 2n ** 128n }).map((number) => number.toString(16)),
  fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
);
const lines = fc.uniqueArray(line, { selector: ([serial]) => serial }).map((each) => new Map(each));

describe('the trust file', () => {
  it('lists serials in hex with the id of their dispatcher', () => {
    expect(parseTrust('02 ctl-1\r\n\n# old\n10\tctl-2  \n')).toEqual({
      lines: new Map([
        ['2', 'ctl-1'],
        ['10', 'ctl-2'],
      ]),
      warnings: [],
    });
  });

  it('of a 0.8 agent is one serial without an id', () => {
    expect(parseTrust('02\n').lines).toEqual(new Map([['2', legacyDispatcherId]]));
  });

  it.each(['0 ctl', 'xyz ctl', '0x02 ctl', 'AA:BB ctl', '02 -ctl', '02 ctl extra', '\u001b[2J'])(
    'trusts nobody for the line %j, and says so',
    (text) => {
      const { lines: read, warnings } = parseTrust(`a1 first\n${text}\nb2 second\n`);
      expect([...read.keys()]).toEqual(['a1', 'b2']);
      expect(warnings).toEqual([
        expect.stringMatching(/^line 2: skipped, .*expected <serial-hex> <dispatcher_id>$/),
      ]);
      expect(warnings[0]).not.toMatch(/\p{Cc}/u);
    },
  );

  it('gives a serial to the first id that claims it', () => {
    expect(parseTrust('a1 first\n0A1 second\na1 first\n')).toEqual({
      lines: new Map([['a1', 'first']]),
      warnings: ['line 2: skipped, serial a1 already belongs to first'],
    });
  });

  it('reads back what was written', () => {
    fc.assert(
      fc.property(lines, (some) => {
        const { lines: read, warnings } = parseTrust(formatTrust(some));
        expect([...read]).toEqual([...some]);
        expect(warnings).toEqual([]);
      }),
    );
  });

  it('is read without a throw, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const first = parseTrust(text).lines;
        expect(parseTrust(formatTrust(first)).lines).toEqual(first);
      }),
    );
  });

  it('of 40,000 lines is read in a moment', () => {
    const text = Array.from({ length: 40_000 }, (_, n) => `${(n + 1).toString(16)} control\n`).join('');
    const began = performance.now();
    expect(parseTrust(text).lines.size).toBe(40_000);
    // It took 80 s when each line was compared with all before it.
    expect(performance.now() - began).toBeLessThan(10_000);
  });
});
