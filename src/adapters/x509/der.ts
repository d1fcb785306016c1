/** One tag-length-value of DER (X.690). */
export interface DerValue {
  readonly tag: number;
  readonly content: Uint8Array<ArrayBuffer>;
  /** With tag and length. */
  readonly whole: Uint8Array<ArrayBuffer>;
}

export const derTag = { integer: 0x02, bitString: 0x03, sequence: 0x30, attributes: 0xa0 } as const;

/**
 * The values that follow one another in `bytes`, or undefined unless these fill it exactly, with lengths that are
 * definite and as short as possible. Parsers that also take BER would let one request have many encodings.
 */
export function derValues(bytes: Uint8Array<ArrayBuffer>): readonly DerValue[] | undefined {
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
    values.push({ tag, content: bytes.subarray(start, end), whole: bytes.subarray(offset, end) });
    offset = end;
  }
  return values;
}

/** The values inside, if there is one SEQUENCE and nothing else. */
export function derSequence(bytes: Uint8Array<ArrayBuffer>): readonly DerValue[] | undefined {
  const [value, ...rest] = derValues(bytes) ?? [];
  return value?.tag === derTag.sequence && rest.length === 0 ? derValues(value.content) : undefined;
}
