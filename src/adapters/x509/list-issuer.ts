import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { Certificate } from '../../domain/trust/certificate.js';
import { derSequence, derTag, derValues } from '../shared/der.js';
import { extensionId, readExtensions } from './extensions.js';

/** What counts of a CA certificate where its revocation lists are concerned. */
export interface ListIssuer {
  /** Name, DER. */
  readonly name: Uint8Array;
  readonly keyIdentifier: Uint8Array;
  /** A CA whose key usages are not said may sign anything (RFC 5280 section 6.3.3 f). */
  readonly maySignLists: boolean;
}

const crlSign = 0x02;

/** Undefined: the certificate is not of a shape that is understood here. */
export function listIssuer({ der }: Certificate): ListIssuer | undefined {
  const [signed] = derSequence(new Uint8Array(der)) ?? [];
  const fields = (signed && derValues(signed.content)) ?? [];
  const unversioned = fields[0]?.tag === derTag.context(0) ? fields.slice(1) : fields;
  const [_serial, _algorithm, _issuer, _validity, subject, key, ...optional] = unversioned;
  if (subject?.tag !== derTag.sequence || key?.tag !== derTag.sequence) return undefined;
  const wrapped = optional.find(({ tag }) => tag === derTag.context(3));
  const extensions = wrapped ? readExtensions(wrapped.content) : new Map();
  if (!extensions) return undefined;

  const [usage] = derValues(extensions.get(extensionId.keyUsage)?.value ?? none, 1) ?? [];
  const [identifier] = derValues(extensions.get(extensionId.subjectKeyIdentifier)?.value ?? none, 1) ?? [];
  const [, bits] = derValues(key.content) ?? [];
  return {
    name: subject.whole,
    keyIdentifier:
      identifier?.tag === derTag.octetString
        ? identifier.content
        : // What RFC 5280 section 4.2.1.2 proposes.
          createHash('sha1')
            .update(Buffer.from(bits?.content.subarray(1) ?? none))
            .digest(),
    maySignLists:
      !extensions.has(extensionId.keyUsage) ||
      (usage?.tag === derTag.bitString && ((usage.content[1] ?? 0) & crlSign) !== 0),
  };
}

const none = new Uint8Array();
