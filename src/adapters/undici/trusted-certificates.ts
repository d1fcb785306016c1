import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { rootCertificates } from 'node:tls';
import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { splitCertificates } from '../../domain/core/pem.js';

type Trusted = Result<readonly string[], CtrlExecError<'config_invalid'>>;

/** Where systems keep the CAs that they trust, as one file: Debian, Fedora, RHEL, openSUSE, Alpine and the BSDs. */
const systemFiles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

const isCertificate = (pem: string): boolean => {
  try {
    return new X509Certificate(pem) !== undefined;
  } catch {
    return false;
  }
};

async function certificatesIn(file: string): Promise<Result<readonly string[], string>> {
  try {
    const certificates = splitCertificates(await readFile(file, 'latin1')).filter(isCertificate);
    return certificates.length > 0 ? ok(certificates) : err('holds no PEM certificate that can be read');
  } catch (thrown) {
    return err(`cannot be read (${(thrown as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}

const refuse = (file: string, reason: string) =>
  err(failure('config_invalid', `CA bundle ${file} ${reason}`, { file, reason }));

/**
 * The CAs of a bundle, or, without one, those that the system trusts: the file that `SSL_CERT_FILE` names, else the system's own,
 * else those that Node brings. A bundle that somebody names must hold a certificate.
 */
export async function trustedCertificates(
  bundle: string | undefined,
  sslCertFile?: string,
): Promise<Trusted> {
  const named = bundle ?? sslCertFile;
  if (named) return (await certificatesIn(named)).orElse((reason) => refuse(named, reason));
  for (const file of systemFiles) {
    const found = await certificatesIn(file);
    if (found.isOk()) return ok(found.value);
  }
  return ok(rootCertificates);
}
