import { createPrivateKey, generateKeyPair, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryDirectory } from '../commands/commands.js';
import { openssl } from '../network/openssl.js';

const makeKeys = promisify(generateKeyPair);

/** Who a legacy host is: PEM texts, as its files hold them. */
export interface LegacyIdentity {
  /** PKCS#8, RSA. */
  readonly key: string;
  readonly certificate: string;
  readonly ca: string;
  /** As `openssl x509 -serial` prints it, in lower case: `02`. */
  readonly serial: string;
}

/**
 * A CA as legacy dispatchers keep it (legacy facts 1): `ca.key` (RSA-4096, PKCS#8 where OpenSSL 3 made it), `ca.crt` (CN
 * `ctrl-exec CA`, version 3, basicConstraints) and `ca.serial`, which holds the serial issued last. What it issues is
 * whatever `openssl x509 -req` makes: with OpenSSL 3.0 version 1 without extensions, serials 02, 03, … from the counter.
 */
export interface LegacyCa {
  readonly directory: string;
  /** PKCS#8, RSA. */
  readonly key: string;
  /** Its certificate, PEM. */
  readonly pem: string;
  /** Issues over the pool's key of this common name, the same at every call, for 825 days. */
  issue(commonName: string, options?: IssueOptions): Promise<LegacyIdentity>;
  /** Signs a CSR (PEM), subject as it stands there, with the counter's next serial. Default 825 days, as at pairing. */
  sign(csr: string, days?: number): { readonly certificate: string; readonly serial: string };
}

/**
 * Why a dispatcher of 0.12 does not sign a CSR (PEM): it wants RSA of 2048 bits or more, at most 10,240 characters and,
 * at a renewal, the subject `CN=<registry name>` (legacy facts 5, 6).
 */
export function whyNotSigned(csr: string, name?: string): string | undefined {
  if (csr.length > 10_240) return 'CSR too large';
  const asked = ['req', '-noout', '-text', '-subject', '-nameopt', 'multiline'];
  const text = openssl(asked, { input: csr }).stdout;
  const bits = Number(
    /Public Key Algorithm: rsaEncryption\s+.*Public-Key: \((\d+) bit\)/.exec(text)?.[1] ?? 0,
  );
  if (bits < 2048) return 'CSR key too small';
  const commonName = /commonName\s+= (.*)/.exec(text)?.[1];
  return name === undefined || commonName === name ? undefined : `CSR subject ${commonName} is not ${name}`;
}

interface IssueOptions {
  /** PKCS#8. Default: the pool's key for this common name. */
  readonly key?: string;
  readonly days?: number;
}

export interface LegacyCaOptions {
  /** Of every RSA key. Default 4096, as deployed; 2048 for tests that do not care. */
  readonly bits?: 4096 | 2048;
  /** Installations of another name have other keys. Default `legacy`. */
  readonly installation?: string;
  /** What `ca.serial` says: the serial issued last, hex, an even number of digits. Default `01`, as after setup-ca. */
  readonly lastSerial?: string;
  /** `ca.key` as OpenSSL 1.1 wrote it: `BEGIN RSA PRIVATE KEY`. */
  readonly pkcs1?: boolean;
  /** Of X.509, for its own certificate. Default 3. */
  readonly version?: 1 | 3;
  /** Where its files are. Default: a temporary directory. */
  readonly directory?: string;
}

const pool = new Map<string, Promise<string>>();

/**
 * An RSA key, PKCS#8: one for each name, made once in this process, since RSA-4096 takes seconds. Whoever asks for the
 * same name and length gets the same key.
 */
export function pooledRsaKey(name: string, bits: 4096 | 2048 = 4096): Promise<string> {
  const id = `${bits}:${name}`;
  const known = pool.get(id);
  if (known) return known;
  const made = makeKeys('rsa', {
    modulusLength: bits,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).then(({ privateKey }) => privateKey);
  pool.set(id, made);
  return made;
}

/** Work with a text in a private file that is gone afterwards: also outside a test, as where a server asks. */
function withFile<T>(text: string, work: (path: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-test-'));
  try {
    const path = join(directory, 'input.pem');
    writeFileSync(path, text, { mode: 0o600 });
    return work(path);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A CSR (PEM) over a key, subject `CN=<commonName>` and nothing else, as a legacy agent makes it. */
export const legacyCsr = (key: string, commonName: string): string =>
  withFile(
    key,
    (path) => openssl(['req', '-new', '-sha256', '-key', path, '-subj', `/CN=${commonName}`]).stdout,
  );

/** A CA's own certificate (PEM): of version 3, as legacy dispatchers make it, or of version 1. */
export const legacyCaCertificate = (key: string, version: 1 | 3 = 3): string =>
  withFile(key, (path) => {
    const ten = ['-sha256', '-days', '3650'];
    if (version === 3)
      return openssl(['req', '-new', '-x509', ...ten, '-subj', '/CN=ctrl-exec CA', '-key', path]).stdout;
    return openssl(['x509', '-req', ...ten, '-signkey', path], { input: legacyCsr(key, 'ctrl-exec CA') })
      .stdout;
  });

/** The serial of a certificate as legacy hosts compare it: what OpenSSL prints, in lower case; an even number of digits. */
export const legacySerial = (pem: string): string => new X509Certificate(pem).serialNumber.toLowerCase();

/** Makes a CA with the openssl command, in a directory that is removed at the end. */
export async function legacyCa(options: LegacyCaOptions = {}): Promise<LegacyCa> {
  const { bits = 4096, installation = 'legacy', lastSerial = '01', pkcs1 = false } = options;
  const { directory = temporaryDirectory() } = options;
  const path = (name: string) => join(directory, name);
  const keyOf = (name: string) => pooledRsaKey(`${installation}/${name}`, bits);
  const key = await keyOf('ca');
  const written = pkcs1 ? createPrivateKey(key).export({ type: 'pkcs1', format: 'pem' }) : key;
  const pem = legacyCaCertificate(key, options.version);
  mkdirSync(directory, { recursive: true });
  writeFileSync(path('ca.key'), written, { mode: 0o600 });
  writeFileSync(path('ca.crt'), pem);
  writeFileSync(path('ca.serial'), lastSerial, { mode: 0o600 });

  const sign = (csr: string, days = 825) => {
    const { stdout: certificate } = openssl(
      [
        ...['x509', '-req', '-sha256', '-days', String(days)],
        ...['-CA', path('ca.crt'), '-CAkey', path('ca.key')],
        ...['-CAserial', path('ca.serial'), '-CAcreateserial'],
      ],
      { input: csr },
    );
    return { certificate, serial: legacySerial(certificate) };
  };

  return {
    directory,
    key,
    pem,
    sign,
    async issue(commonName, { key: given, days } = {}) {
      const own = given ?? (await keyOf(commonName));
      return { key: own, ca: pem, ...sign(legacyCsr(own, commonName), days) };
    },
  };
}
