import { fromBase64 } from '../core/bytes.js';
import { isCertificateBlock, pemBlocks } from '../core/pem.js';

/** What a certificate that was found says of itself; the words are those of the control plane's API. */
export interface CertificateDescription {
  /** SHA-256 over the certificate, lower-case hex. */
  readonly fingerprint: string;
  readonly commonName: string;
  /** DNS names, then e-mail addresses, then IP addresses of the subjectAltName. */
  readonly sans: readonly string[];
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly issuer: string;
  readonly subject: string;
  /** Epoch milliseconds. */
  readonly notBefore: number;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  /** `RSA`, `ECDSA`, `Ed25519`, or what else there is. */
  readonly keyAlgorithm: string;
  /** Bits; 0 where the algorithm has no such number. */
  readonly keySize: number;
  readonly isCa: boolean;
}

/** How a file may hold certificates. */
export type CertificateFormat = 'PEM' | 'DER';

export interface FoundCertificate extends CertificateDescription {
  readonly pem: string;
  readonly path: string;
  readonly format: CertificateFormat;
}

/** What is larger holds no certificate. */
export const maxCertificateFile = 1024 * 1024;

/** How a file is read, by its name; undefined: it is not. Keys are never opened, nor is what has no extension. */
export function formatOf(path: string): CertificateFormat | undefined {
  const name = path.slice(path.lastIndexOf('/') + 1);
  const dot = name.lastIndexOf('.');
  const extension = dot < 0 ? '' : name.slice(dot).toLowerCase();
  if (extension === '' || extension === '.key') return undefined;
  return extension === '.der' ? 'DER' : 'PEM';
}

/** The certificates of a PEM text, DER each; undefined in place of one that is not base64. */
export const pemCertificates = (text: string): readonly (Uint8Array | undefined)[] =>
  pemBlocks(text)
    .filter(isCertificateBlock)
    .map(({ base64 }) => fromBase64(base64));

/** What a scan has found. */
export interface Scan {
  readonly directories: readonly string[];
  readonly certificates: readonly FoundCertificate[];
  readonly errors: readonly string[];
  /** Milliseconds. */
  readonly duration: number;
}

const rfc3339 = (time: number) => new Date(time).toISOString().replace(/\.\d{3}Z$/, 'Z');

/** A scan as `POST /api/v1/agents/{id}/discoveries` takes it. */
export const discoveryReport = (agentId: string, scan: Scan) => ({
  agent_id: agentId,
  directories: scan.directories,
  certificates: scan.certificates.map((found) => ({
    fingerprint_sha256: found.fingerprint,
    common_name: found.commonName,
    sans: found.sans,
    serial_number: found.serial,
    issuer_dn: found.issuer,
    subject_dn: found.subject,
    not_before: rfc3339(found.notBefore),
    not_after: rfc3339(found.notAfter),
    key_algorithm: found.keyAlgorithm,
    key_size: found.keySize,
    is_ca: found.isCa,
    pem_data: found.pem,
    source_path: found.path,
    source_format: found.format,
  })),
  errors: scan.errors,
  scan_duration_ms: Math.round(scan.duration),
});
