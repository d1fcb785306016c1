/** One tag-length-value of DER (X.690). */
export interface DerValue<B extends ArrayBufferLike = ArrayBuffer> {
  readonly tag: number;
  readonly content: Uint8Array<B>;
  /** With tag and length. */
  readonly whole: Uint8Array<B>;
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
  /** `[n]` in place of a primitive value's own tag. */
  implicit: (n: number) => 0x80 + n,
  /** `[n]` around a value or in place of the tag of a SET. */
  context: (n: number) => 0xa0 + n,
} as const;

/** A limit for where there may be as many values as there are bytes for. */
export const anyNumber = Number.POSITIVE_INFINITY;

/**
 * The values that follow one another in `bytes`, or undefined unless these fill it exactly, with lengths that are
 * definite and as short as possible. Parsers that also take BER would let one request have many encodings.
 * @param limit how many there may be
 */
export function derValues<B extends ArrayBufferLike>(
  bytes: Uint8Array<B>,
  limit = 1000,
): readonly DerValue<B>[] | undefined {
  const values: DerValue<B>[] = [];
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
export function derSequence<B extends ArrayBufferLike>(
  bytes: Uint8Array<B>,
  limit?: number,
): readonly DerValue<B>[] | undefined {
  const [value] = derValues(bytes, 1) ?? [];
  return value?.tag === derTag.sequence ? derValues(value.content, limit) : undefined;
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
