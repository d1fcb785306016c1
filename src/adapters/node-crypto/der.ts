/** One tag-length-value of DER (X.690), as far as certificates need it. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
}

export const derTag = {
  objectIdentifier: 0x06,
  octetString: 0x04,
  sequence: 0x30,
  /** `[n]` around a value. */
  explicit: (n: number) => 0xa0 + n,
  /** `[n]` in place of a primitive value's own tag. */
  implicit: (n: number) => 0x80 + n,
} as const;

/**
 * The elements that follow one another in `bytes`, or undefined unless these fill it exactly. Lengths must be definite
 * and as short as possible; tags of more than one byte do not occur in certificates and are refused.
 */
export function derElements(bytes: Uint8Array): readonly DerElement[] | undefined {
  const elements: DerElement[] = [];
  let offset = 0;
  while (offset < bytes.length) {
    const tag = bytes[offset];
    const first = bytes[offset + 1];
    if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined;
    let start = offset + 2;
    let length = first;
    if (first >= 0x80) {
      const lengthBytes = bytes.subarray(start, start + (first & 0x7f));
      if (lengthBytes.length !== (first & 0x7f) || lengthBytes.length === 0 || lengthBytes.length > 3)
        return undefined;
      length = lengthBytes.reduce((sum, byte) => sum * 256 + byte, 0);
      if (length < 0x80 || lengthBytes[0] === 0) return undefined;
      start += lengthBytes.length;
    }
    if (start + length > bytes.length) return undefined;
    elements.push({ tag, content: bytes.subarray(start, start + length) });
    offset = start + length;
  }
  return elements;
}

/** The elements inside the one SEQUENCE that `bytes` consists of. */
export function derSequence(bytes: Uint8Array): readonly DerElement[] | undefined {
  const [element, ...rest] = derElements(bytes) ?? [];
  return element?.tag === derTag.sequence && rest.length === 0 ? derElements(element.content) : undefined;
}
