/** One tag-length-value of DER (X.690). */
export interface DerValue {
  readonly tag: number;
  readonly content: Uint8Array<ArrayBuffer>;
  /** With tag and length. */
  readonly whole: Uint8Array<ArrayBuffer>;
}

export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  /** `[0]` in place of a primitive value's own tag. */
  keyIdentifier: 0x80,
  /** `[6]` in place of an IA5String's own tag: a URI among GeneralNames (RFC 5280 section 4.2.1.6). */
  uri: 0x86,
  /** `[n]` around a value or in place of the tag of a SET. */
  context: (n: number) => 0xa0 + n,
} as const;

/**
 * The values that follow one another in `bytes`, or undefined unless these fill it exactly, with lengths that are
 * definite and as short as possible. Parsers that also take BER would let one request have many encodings.
 * @param limit how many there may be
 */
export function derValues(bytes: Uint8Array<ArrayBuffer>, limit = 1000): readonly DerValue[] | undefined {
  const values: DerValue[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const tag = bytes[offset] ?? 0;
    const first = bytes[offset + 1] ?? 0x80;
    const lengthBytes = first < 0x80 ? [] : [...bytes.subarray(offset + 2, offset + 2 + (first & 0x7f))];
    const length = first < 0x80 ? first : lengthBytes.reduce((sum, byte) => sum * 256 + byte, 0);
    const start = offset + 2 + lengthBytes.length;
    const end = start + length;
    const shortest = first < 0x80 || (length >= 0x80 && lengthBytes[0] !== 0);
    if ((tag & 0x1f) === 0x1f || !shortest || lengthBytes.length > 3 || end > bytes.length) return undefined;
    if (values.length === limit) return undefined;
    values.push({ tag, content: bytes.subarray(start, end), whole: bytes.subarray(offset, end) });
    offset = end;
  }
  return values;
}

/** The values inside, if there is one SEQUENCE and nothing else. */
export function derSequence(bytes: Uint8Array<ArrayBuffer>): readonly DerValue[] | undefined {
  const [value] = derValues(bytes, 1) ?? [];
  return value?.tag === derTag.sequence ? derValues(value.content) : undefined;
}

/** One value, hex: joining text is the quickest way to many small values. */
export function derHex(tag: number, ...contents: readonly string[]): string {
  const content = contents.join('');
  const length = content.length / 2;
  const bytes = evenHex(length);
  const prefix = length < 0x80 ? bytes : evenHex(0x80 + bytes.length / 2) + bytes;
  return evenHex(tag) + prefix + content;
}

/** An INTEGER that is not negative, from hex digits without leading zeros. */
export function derInteger(digits: string): string {
  const bytes = digits.length % 2 === 0 ? digits : `0${digits}`;
  return derHex(derTag.integer, /^[89a-f]/.test(bytes) ? `00${bytes}` : bytes);
}

const evenHex = (value: number) => {
  const digits = value.toString(16);
  return digits.length % 2 === 0 ? digits : `0${digits}`;
};
