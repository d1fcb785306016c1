import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commonNameOf, goDistinguishedName } from '../../../../src/domain/trust/distinguished-name.js';

const types = {
  CN: '2.5.4.3',
  SERIALNUMBER: '2.5.4.5',
  C: '2.5.4.6',
  L: '2.5.4.7',
  ST: '2.5.4.8',
  STREET: '2.5.4.9',
  O: '2.5.4.10',
  OU: '2.5.4.11',
  POSTALCODE: '2.5.4.17',
} as const;

const name = (...parts: readonly (readonly [keyof typeof types, string])[]) =>
  parts.map(([type, value]) => ({ type: types[type], value }));

describe('a distinguished name as Go prints it', () => {
  it('the last of the known attributes comes first, whatever the order in the certificate', () => {
    const inOrder = name(
      ['C', 'DE'],
      ['O', 'Example'],
      ['OU', 'Web'],
      ['L', 'Bonn'],
      ['ST', 'NRW'],
      ['STREET', 'Am Markt 1'],
      ['POSTALCODE', '53111'],
      ['CN', 'www.example.com'],
      ['SERIALNUMBER', '7'],
    );
    const expected =
      'SERIALNUMBER=7,CN=www.example.com,POSTALCODE=53111,STREET=Am Markt 1,ST=NRW,L=Bonn,OU=Web,O=Example,C=DE';
    expect(goDistinguishedName(inOrder)).toBe(expected);
    expect(goDistinguishedName(inOrder.toReversed())).toBe(expected);
  });

  it('values of one type stand together, of common names the last one only', () => {
    const attributes = name(['CN', 'first'], ['OU', 'a'], ['O', 'x'], ['OU', 'b'], ['CN', 'last']);
    expect(goDistinguishedName(attributes)).toBe('CN=last,OU=a+OU=b,O=x');
    expect(commonNameOf(attributes)).toBe('last');
    expect(commonNameOf(name(['O', 'x']))).toBe('');
  });

  it('special characters are escaped, spaces and # at the ends only', () => {
    expect(goDistinguishedName(name(['O', 'A, B + "C" \\ <D>; E=F #1']))).toBe(
      'O=A\\, B \\+ \\"C\\" \\\\ \\<D\\>\\; E=F #1',
    );
    expect(goDistinguishedName(name(['CN', ' x ']))).toBe('CN=\\ x\\ ');
    expect(goDistinguishedName(name(['CN', '#x#']))).toBe('CN=\\#x#');
    expect(goDistinguishedName(name(['CN', ' ']))).toBe('CN=\\ ');
  });

  it('other attributes come last, as a number and hex: what Go would print', () => {
    const attributes = [
      ...name(['C', 'US']),
      { type: '1.2.840.113549.1.9.1', value: 'a@b' },
      ...name(['CN', 'x']),
      { type: '0.9.2342.19200300.100.1.25', value: 'example' },
    ];
    expect(goDistinguishedName(attributes)).toBe(
      'CN=x,C=US,0.9.2342.19200300.100.1.25=#13076578616d706c65,1.2.840.113549.1.9.1=#0c03614062',
    );
    const long = goDistinguishedName([{ type: '1.2.3', value: 'x'.repeat(300) }]);
    expect(long.slice(0, 16)).toBe('1.2.3=#1382012c7');
  });

  it('nothing gives nothing, and an empty common name is left out', () => {
    expect(goDistinguishedName([])).toBe('');
    expect(goDistinguishedName(name(['CN', '']))).toBe('');
  });

  it('does not depend on where the attributes stand, but for those of one type', () => {
    const type = fc.constantFrom(...Object.values(types));
    const attributes = fc.uniqueArray(fc.record({ type, value: fc.string({ minLength: 1 }) }), {
      selector: ({ type: each }) => each,
    });
    fc.assert(
      fc.property(attributes, (each) => goDistinguishedName(each) === goDistinguishedName(each.toReversed())),
    );
  });
});
