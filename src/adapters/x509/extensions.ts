import { Buffer } from 'node:buffer';
import { derSequence, derTag, derValues } from '../shared/der.js';

interface ExtensionValue {
  readonly critical: boolean;
  readonly value: Uint8Array<ArrayBuffer>;
}

/** Extensions by the hex of their object identifier. */
export type ExtensionValues = ReadonlyMap<string, ExtensionValue>;

/** Object identifiers of extensions (RFC 5280 sections 4.2 and 5.2), content in hex. */
export const extensionId = {
  subjectKeyIdentifier: '551d0e',
  keyUsage: '551d0f',
  issuerAltName: '551d12',
  crlNumber: '551d14',
  reasonCode: '551d15',
  deltaCrlIndicator: '551d1b',
  issuingDistributionPoint: '551d1c',
  certificateIssuer: '551d1d',
  authorityKeyIdentifier: '551d23',
} as const;

/** Reads Extensions (RFC 5280 section 4.1); undefined when one is malformed or occurs twice, or when there is none. */
export function readExtensions(der: Uint8Array<ArrayBuffer>): ExtensionValues | undefined {
  const extensions = derSequence(der) ?? [];
  const values = new Map<string, ExtensionValue>();
  for (const extension of extensions) {
    const parts = extension.tag === derTag.sequence ? (derValues(extension.content, 3) ?? []) : [];
    const [id, critical, value] = parts.length === 2 ? [parts[0], undefined, parts[1]] : parts;
    if (id?.tag !== derTag.objectIdentifier || value?.tag !== derTag.octetString) return undefined;
    if (critical && (critical.tag !== derTag.boolean || !/^(00|ff)$/.test(hex(critical.content))))
      return undefined;
    if (values.has(hex(id.content))) return undefined;
    values.set(hex(id.content), { critical: critical?.content[0] === 0xff, value: value.content });
  }
  return values.size > 0 ? values : undefined;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
