import { Buffer } from 'node:buffer';
import type { Usage } from '../../domain/trust/certificate.js';
import { anyNumber, type DerValue, derSequence, derTag, derValues } from '../shared/der.js';

/** What node:crypto does not tell, or tells only as text, about a certificate. */
export interface CertificateExtensions {
  /** Version 1 is from before there were extensions. */
  readonly isVersion1: boolean;
  readonly dnsNames: readonly string[];
  readonly uris: readonly string[];
  readonly usages: readonly Usage[] | undefined;
}

const subjectAltName = '551d11';
const extendedKeyUsage = '551d25';
const usageNames: Readonly<Record<string, Usage>> = {
  '2b06010505070301': 'serverAuth',
  '2b06010505070302': 'clientAuth',
};

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

/**
 * Reads the extensions of a certificate (RFC 5280 section 4.1) that is otherwise known to be well-formed; undefined
 * when one is malformed or occurs twice. An unreadable extension must not pass for an absent one: absent key usages
 * allow everything.
 */
export function readExtensions(der: Uint8Array): CertificateExtensions | undefined {
  const fields = derValues(derSequence(der)?.[0]?.content ?? new Uint8Array());
  if (!fields || fields.length === 0) return undefined;
  const isVersion1 = fields[0]?.tag !== derTag.context(0);
  const wrapped = fields.find(({ tag }) => tag === derTag.context(3));
  if (!wrapped) return { isVersion1, dnsNames: [], uris: [], usages: undefined };

  const values = extensionValues(derSequence(wrapped.content));
  if (!values) return undefined;
  const names = values.has(subjectAltName) ? nonEmpty(values.get(subjectAltName)) : [];
  const purposes = values.has(extendedKeyUsage) ? nonEmpty(values.get(extendedKeyUsage)) : [];
  if (!names || !purposes?.every(({ tag }) => tag === derTag.objectIdentifier)) return undefined;
  const namesOf = (n: number) =>
    names.filter(({ tag }) => tag === derTag.implicit(n)).map(({ content }) => text(content));
  return {
    isVersion1,
    dnsNames: namesOf(2),
    uris: namesOf(6),
    usages: values.has(extendedKeyUsage)
      ? purposes.map(({ content }) => usageNames[hex(content)] ?? 'other')
      : undefined,
  };
}

/** The extensions of a certificate by the hex of their object identifier; undefined when they are malformed. */
export function extensionsOf(der: Uint8Array): ReadonlyMap<string, Uint8Array> | undefined {
  const fields = derValues(derSequence(der)?.[0]?.content ?? new Uint8Array());
  const wrapped = fields?.find(({ tag }) => tag === derTag.context(3));
  if (!fields || !wrapped) return fields && new Map();
  return extensionValues(derSequence(wrapped.content));
}

/** Extension values by the hex of their object identifier. */
function extensionValues(
  extensions: readonly DerValue<ArrayBufferLike>[] | undefined,
): Map<string, Uint8Array> | undefined {
  if (!extensions) return undefined;
  const values = new Map<string, Uint8Array>();
  for (const extension of extensions) {
    const parts = derValues(extension.content);
    const id = parts?.[0];
    const value = parts?.at(-1);
    if (id?.tag !== derTag.objectIdentifier || value?.tag !== derTag.octetString) return undefined;
    if (values.has(hex(id.content))) return undefined;
    values.set(hex(id.content), value.content);
  }
  return values;
}

function nonEmpty(value: Uint8Array | undefined): readonly DerValue<ArrayBufferLike>[] | undefined {
  const elements = value && derSequence(value, anyNumber);
  return elements?.length ? elements : undefined;
}
