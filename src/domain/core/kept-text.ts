import { decodeUtf8, shownUtf8 } from '../core/bytes.js';

/** What was kept of a stream, head then tail; `total`: bytes in all. */
interface Kept {
  readonly bytes: Uint8Array;
  readonly total: number;
}

/** The text of what was kept of a stream, and `exact`, its bytes, where they are no UTF-8: U+FFFD stands for them in the text. */
interface KeptText {
  readonly text: string;
  readonly exact?: Uint8Array;
}

/** A character that a cut has split is no part of the text, and does not make it other than UTF-8. */
export function keptText({ bytes, total }: Kept): KeptText {
  const whole = decodeUtf8(bytes);
  if (whole !== undefined) return { text: whole };
  // Between head and tail; or at the end, where output could not be kept on disk.
  const cuts = total > bytes.length ? [Math.floor(bytes.length / 2), bytes.length] : [];
  for (const cut of cuts) {
    const head = decodeUtf8(bytes.subarray(0, endOfCharacters(bytes, cut)));
    const tail = decodeUtf8(bytes.subarray(beginOfCharacters(bytes, cut)));
    if (head !== undefined && tail !== undefined) return { text: head + tail };
  }
  return { text: shownUtf8(bytes), exact: bytes };
}

const isContinuation = (byte = 0): boolean => (byte & 0xc0) === 0x80;
const lengthOf = (lead = 0): number => (lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1);

/** Where the last character that is whole before `cut` ends. */
function endOfCharacters(bytes: Uint8Array, cut: number): number {
  let lead = cut - 1;
  while (lead > 0 && lead > cut - 4 && isContinuation(bytes[lead])) lead -= 1;
  return lead >= 0 && lead + lengthOf(bytes[lead]) > cut ? lead : cut;
}

/** Where the first character after `cut` begins; no character has more than three other bytes. */
function beginOfCharacters(bytes: Uint8Array, cut: number): number {
  let begin = cut;
  while (begin < bytes.length && begin < cut + 3 && isContinuation(bytes[begin])) begin += 1;
  return begin;
}
