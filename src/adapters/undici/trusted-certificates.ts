import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { splitCertificates } from '../../domain/core/pem.js';
import type { FileSystem } from '../../ports/file-system.js';

type Trusted = Result<readonly string[], CtrlExecError<'config_invalid'>>;

/** Where systems keep the CAs that they trust, as one file: Debian, Fedora, RHEL, openSUSE, Alpine and the BSDs. */
const systemFiles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** Those of systems have about 250 KiB. */
const largest = 16 * 1024 * 1024;

const isCertificate = (pem: string): boolean => {
  try {
    return new X509Certificate(pem) !== undefined;
  } catch {
    return false;
  }
};

async function certificatesIn(
  read: FileSystem['read'],
  file: string,
): Promise<Result<readonly string[], string>> {
  return (await read(file, largest))
    .mapErr(({ reason }) => `cannot be read (${reason})`)
    .andThen((bytes) => {
      const certificates = splitCertificates(Buffer.from(bytes).toString('latin1')).filter(isCertificate);
      return certificates.length > 0 ? ok(certificates) : err('holds no PEM certificate that can be read');
    });
}

const refuse = (file: string, reason: string) =>
  err(failure('config_invalid', `CA bundle ${file} ${reason}`, { file, reason }));

/**
 * The CAs of a bundle, or, without one, those that the system trusts: the file that `SSL_CERT_FILE` names, else the system's own,
 * else those that Node brings. A bundle that somebody names must hold a certificate.
 */
export async function trustedCertificates(
  read: FileSystem['read'],
  bundle: string | undefined,
  sslCertFile?: string,
): Promise<Trusted> {
  const named = bundle ?? sslCertFile;
  if (named) return (await certificatesIn(read, named)).orElse((reason) => refuse(named, reason));
  for (const file of systemFiles) {
    const found = await certificatesIn(read, file);
    if (found.isOk()) return ok(found.value);
  }
  return ok(rootCertificates);
}
