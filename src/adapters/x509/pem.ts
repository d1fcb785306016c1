import { Buffer } from 'node:buffer';
import { derSequence } from '../shared/der.js';

const block = /-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n([A-Za-z0-9+/=\s]+)-----END \1-----/g;

/**
 * The contents of the PEM blocks in `text` (RFC 7468), in order. Text around blocks is allowed; undefined when there is
 * another label, a broken block, or content that is not one DER SEQUENCE to its last byte.
 */
export function derBlocks(text: string, labels: readonly string[]): Uint8Array<ArrayBuffer>[] | undefined {
  const contents: Uint8Array<ArrayBuffer>[] = [];
  const around = text.replace(block, (_whole, label: string, body: string) => {
    const base64 = body.replaceAll(/\s/g, '');
    const der = new Uint8Array(Buffer.from(base64, 'base64'));
    const intact = Buffer.from(der).toString('base64') === base64 && derSequence(der) !== undefined;
    if (!intact || !labels.includes(label)) return '-----';
    contents.push(der);
    return '';
  });
  return around.includes('-----') ? undefined : contents;
}
