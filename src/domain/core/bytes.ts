const encoder = new TextEncoder();

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

/** The text, a byte order mark included; undefined for what is no UTF-8. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** The text, a byte order mark included, with U+FFFD for what is no UTF-8. */
export const shownUtf8 = (bytes: Uint8Array): string =>
  new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);

/** Lower-case hex. */
export function hex(bytes: Uint8Array): string {
  let digits = '';
  for (const byte of bytes) digits += hexDigits[byte];
  return digits;
}

const hexDigits = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Undefined for an odd length or anything but hex digits. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined;
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

const alphabet = utf8('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');

/** base64 with padding (RFC 4648 section 4). `btoa` takes seconds for what a script may write. */
export function base64(bytes: Uint8Array): string {
  const text = new Uint8Array(Math.ceil(bytes.length / 3) * 4).fill(0x3d);
  for (let at = 0, to = 0; at < bytes.length; at += 3, to += 4) {
    const a = bytes[at] ?? 0;
    const b = bytes[at + 1] ?? 0;
    const c = bytes[at + 2] ?? 0;
    text[to] = alphabet[a >> 2] ?? 0;
    text[to + 1] = alphabet[((a & 3) << 4) | (b >> 4)] ?? 0;
    if (at + 1 < bytes.length) text[to + 2] = alphabet[((b & 15) << 2) | (c >> 6)] ?? 0;
    if (at + 2 < bytes.length) text[to + 3] = alphabet[c & 63] ?? 0;
  }
  return new TextDecoder().decode(text);
}

/** Undefined for anything but the one canonical padded text of some bytes. */
export function fromBase64(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined;
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  // Only what the padding leaves of the last bytes can be written in another way.
  const last = bytes.subarray(bytes.length - (bytes.length % 3 || 3));
  return text.endsWith(base64(last)) ? bytes : undefined;
}

/** base64url without padding (RFC 4648 section 5). */
export const base64url = (bytes: Uint8Array): string =>
  base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

/** Undefined for anything but the one canonical unpadded text of some bytes. */
export function fromBase64url(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return undefined;
  const bytes = Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
  return base64url(bytes) === text ? bytes : undefined;
}

/**
 * For each part its length as four bytes big-endian, then the part; texts as UTF-8. Two different lists of parts never
 * give the same bytes.
 */
export function lengthPrefixed(...parts: readonly (string | Uint8Array)[]): Uint8Array {
  const encoded = parts.map((part) => (typeof part === 'string' ? utf8(part) : part));
  const bytes = new Uint8Array(encoded.reduce((sum, part) => sum + 4 + part.length, 0));
  const view = new DataView(bytes.buffer);
  let offset = 0;
  for (const part of encoded) {
    view.setUint32(offset, part.length);
    bytes.set(part, offset + 4);
    offset += 4 + part.length;
  }
  return bytes;
}
