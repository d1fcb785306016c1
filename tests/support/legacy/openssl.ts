import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Runs openssl and gives what it printed. */
export const openssl = (args: readonly string[], input = ''): string =>
  execFileSync('openssl', args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });

const keys = new Map<string, string>();

/** An RSA-4096 key, PKCS#8; made once for each name, for it takes a second. */
export function rsaKey(name: string): string {
  const key =
    keys.get(name) ?? openssl(['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096', '-quiet']);
  keys.set(name, key);
  return key;
}

/** The same key as PKCS#1, as OpenSSL 1.1.1 wrote it. */
export const asPkcs1 = (key: string): string => openssl(['rsa', '-traditional'], key);

/** Work in a directory that is gone afterwards. */
function within<T>(work: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'legacy-openssl-'));
  try {
    return work(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** A self-signed CA: as the older versions make it (v3, `openssl req -x509`), or X.509 v1. */
export const selfSignedCa = (key: string, version: 1 | 3): string =>
  within((directory) => {
    const at = (name: string) => join(directory, name);
    writeFileSync(at('key'), key, { mode: 0o600 });
    const subject = ['-subj', '/CN=ctrl-exec CA'];
    if (version === 3)
      return openssl(['req', '-new', '-x509', '-key', at('key'), '-days', '3650', ...subject]);
    writeFileSync(at('csr'), openssl(['req', '-new', '-key', at('key'), ...subject]));
    return openssl(['x509', '-req', '-in', at('csr'), '-signkey', at('key'), '-days', '3650']);
  });

/** Issues a certificate as the older versions do: subject of the request, serial counted in `ca.serial`, no extensions. */
export const issueCounted = (
  ca: { readonly key: string; readonly certificate: string; readonly serialFile: string },
  subjectKey: string,
  commonName: string,
  days = 825,
): string =>
  within((directory) => {
    const at = (name: string) => join(directory, name);
    writeFileSync(at('ca.key'), ca.key, { mode: 0o600 });
    writeFileSync(at('ca.crt'), ca.certificate);
    writeFileSync(at('key'), subjectKey, { mode: 0o600 });
    writeFileSync(at('csr'), openssl(['req', '-new', '-key', at('key'), '-subj', `/CN=${commonName}`]));
    return openssl([
      ...['x509', '-req', '-in', at('csr'), '-CA', at('ca.crt'), '-CAkey', at('ca.key')],
      ...['-CAserial', ca.serialFile, '-days', String(days), '-sha256'],
    ]);
  });

/** Serial as `openssl x509 -serial` prints it, lower-cased: an even number of digits. */
export const serialOf = (certificate: string): string =>
  openssl(['x509', '-noout', '-serial'], certificate).trim().replace('serial=', '').toLowerCase();

/** notAfter as `openssl x509 -enddate` prints it. */
export const endOf = (certificate: string): string =>
  openssl(['x509', '-noout', '-enddate'], certificate).trim().replace('notAfter=', '');
