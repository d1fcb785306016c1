import { derTag, derValues } from '../shared/der.js';
import { readSigned, type Signed } from './signature.js';

/** The parts of a CertificationRequest (RFC 2986 section 4.2) that count. */
export interface SignedRequest extends Signed {
  /** SubjectPublicKeyInfo, DER, as the request has it. */
  readonly spki: Uint8Array;
}

/** Takes a request apart; undefined unless it is DER of the expected shape. Subject and attributes are not looked at. */
export function parseRequest(der: Uint8Array<ArrayBuffer>): SignedRequest | undefined {
  const frame = readSigned(der);
  if (!frame) return undefined;
  const [version, subject, key, attributes, ...others] = derValues(frame.content) ?? [];
  if (version?.tag !== derTag.integer || version.content.length !== 1 || version.content[0] !== 0)
    return undefined;
  if (subject?.tag !== derTag.sequence || key?.tag !== derTag.sequence) return undefined;
  if ((attributes && attributes.tag !== derTag.context(0)) || others.length > 0) return undefined;
  return { ...frame, spki: key.whole };
}
