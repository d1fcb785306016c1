import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addTrust,
  formatTrust,
  legacyDispatcherId,
  parseTrust,
  removeTrust,
  trustedAs,
} from '../../../../src/domain/trust/trusted-dispatchers.js';

const entry = fc.record({
  serial: fc.bigInt({ min: 1n, max: 2n ** 128n }).map((number) => number.toString(16)),
  dispatcherId: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/),
});
const entries = fc.uniqueArray(entry, { selector: ({ serial }) => serial });

describe('the trust file', () => {
  it('lists serials in hex with the id of their dispatcher', () => {
    expect(parseTrust('02 ctl-1\r\n\n# old\n10\tctl-2  \n')).toEqual({
      entries: [
        { serial: '2', dispatcherId: 'ctl-1' },
        { serial: '10', dispatcherId: 'ctl-2' },
      ],
      warnings: [],
    });
  });

  it('of a 0.8 agent is one serial without an id', () => {
    expect(parseTrust('02\n').entries).toEqual([{ serial: '2', dispatcherId: legacyDispatcherId }]);
  });

  it.each(['0 ctl', 'xyz ctl', '0x02 ctl', 'AA:BB ctl', '02 -ctl', '02 ctl extra', '\u001b[2J'])(
    'trusts nobody for the line %j, and says so',
    (line) => {
      const { entries, warnings } = parseTrust(`a1 first\n${line}\nb2 second\n`);
      expect(entries.map(({ serial }) => serial)).toEqual(['a1', 'b2']);
      expect(warnings).toEqual([
        expect.stringMatching(/^line 2: skipped, .*expected <serial-hex> <dispatcher_id>$/),
      ]);
      expect(warnings[0]).not.toMatch(/\p{Cc}/u);
    },
  );

  it('gives a serial to the first id that claims it', () => {
    const { entries, warnings } = parseTrust('a1 first\n0A1 second\na1 first\n');
    expect(entries).toEqual([{ serial: 'a1', dispatcherId: 'first' }]);
    expect(warnings).toEqual(['line 2: skipped, serial a1 already belongs to first']);
  });

  it('reads back what was written', () => {
    fc.assert(
      fc.property(entries, (list) => {
        expect(parseTrust(formatTrust(list))).toEqual({ entries: list, warnings: [] });
      }),
    );
  });

  it('is read without a throw, whatever it holds', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const first = parseTrust(text).entries;
        expect(parseTrust(formatTrust(first)).entries).toEqual(first);
      }),
    );
  });
});

describe('trusted serials', () => {
  const list = [{ serial: 'a1', dispatcherId: 'one' }];

  it('are added once, and a second claim changes nothing', () => {
    const two = addTrust(list, { serial: 'b2', dispatcherId: 'two' });
    expect(two).toEqual([...list, { serial: 'b2', dispatcherId: 'two' }]);
    expect(addTrust(two, { serial: 'a1', dispatcherId: 'two' })).toEqual(two);
    expect(list).toHaveLength(1);
  });

  it('are removed only under the id that they belong to', () => {
    expect(removeTrust(list, 'a1', 'two')).toEqual(list);
    expect(removeTrust(list, 'a1', 'one')).toEqual([]);
  });

  it('name their dispatcher; others name nobody', () => {
    expect(trustedAs(list, 'a1')).toBe('one');
    expect(trustedAs(list, 'a')).toBeUndefined();
    expect(trustedAs([], 'a1')).toBeUndefined();
  });

  it('adding and removing again restores any list', () => {
    fc.assert(
      fc.property(entries, entry, (list, extra) => {
        fc.pre(trustedAs(list, extra.serial) === undefined);
        const added = addTrust(list, extra);
        expect(trustedAs(added, extra.serial)).toBe(extra.dispatcherId);
        expect(removeTrust(added, extra.serial, extra.dispatcherId)).toEqual(list);
      }),
    );
  });
});
