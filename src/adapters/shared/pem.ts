import { Buffer } from 'node:buffer';
import { readPem } from '../../domain/core/pem.js';
import { derSequence } from './der.js';

/** The bytes, if this is the one text that base64 has for them. */
function derOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
  const der = new Uint8Array(Buffer.from(base64, 'base64'));
  return der.length > 0 && Buffer.from(der).toString('base64') === base64 ? der : undefined;
}

/** What the one PEM block (RFC 7468) of a text holds; undefined: it has another label, or there is something else but white space. */
export function onlyBlock(text: string, labels: readonly string[]): Uint8Array<ArrayBuffer> | undefined {
  const { blocks, behind } = readPem(text);
  const [block, ...others] = blocks;
  if (!block || others.length > 0 || !labels.includes(block.label)) return undefined;
  return [...block.before, ...behind].every((line) => line === '') ? derOf(block.base64) : undefined;
}

/**
 * The contents of the PEM blocks in `text`, in order. Text around blocks is allowed; undefined when there is
 * another label, a broken block, or content that is not one DER SEQUENCE to its last byte.
 */
export function derBlocks(text: string, labels: readonly string[]): Uint8Array<ArrayBuffer>[] | undefined {
  const { blocks, behind } = readPem(text);
  const around = [...blocks.flatMap(({ before }) => before), ...behind];
  const contents = blocks.flatMap(({ label, base64 }) => {
    const der = labels.includes(label) ? derOf(base64) : undefined;
    return der !== undefined && derSequence(der) !== undefined ? [der] : [];
  });
  return contents.length < blocks.length || around.some((line) => line.includes('-----'))
    ? undefined
    : contents;
}
