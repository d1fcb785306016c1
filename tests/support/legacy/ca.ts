import { execFile } from 'node:child_process';
import { createPrivateKey, generateKeyPair, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryDirectory } from '../commands/commands.js';

const command = promisify(execFile);
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
  /** Its certificate, PEM. */
  readonly pem: string;
  /** Issues over the pool's key of this common name, the same at every call, for 825 days. */
  issue(commonName: string, options?: IssueOptions): Promise<LegacyIdentity>;
  /** Signs a CSR (PEM), subject as it stands there, with the counter's next serial. Default 825 days, as at pairing. */
  sign(csr: string, days?: number): Promise<{ readonly certificate: string; readonly serial: string }>;
}

/**
 * Why a dispatcher of 0.12 does not sign a CSR (PEM): it wants RSA of 2048 bits or more, at most 10,240 characters and,
 * at a renewal, the subject `CN=<registry name>` (legacy facts 5, 6).
 */
export async function whyNotSigned(csr: string, name?: string): Promise<string | undefined> {
  if (csr.length > 10_240) return 'CSR too large';
  const text = await opensslOn(csr, (path) => [
    ...['req', '-noout', '-text', '-subject', '-nameopt', 'multiline', '-in', path],
  ]);
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

async function openssl(...args: string[]): Promise<string> {
  const { stdout } = await command('openssl', args, { encoding: 'utf8' });
  return stdout;
}

/** The same, over a text in a private file that is gone afterwards: also outside a test, as where a server asks. */
async function opensslOn(text: string, args: (path: string) => readonly string[]): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-test-'));
  try {
    const path = join(directory, 'input.pem');
    writeFileSync(path, text, { mode: 0o600 });
    return await openssl(...args(path));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A CSR (PEM) over a key, subject `CN=<commonName>` and nothing else, as a legacy agent makes it. */
export const legacyCsr = (key: string, commonName: string): Promise<string> =>
  opensslOn(key, (path) => ['req', '-new', '-sha256', '-key', path, '-subj', `/CN=${commonName}`]);

/** The serial of a certificate as legacy hosts compare it: what OpenSSL prints, in lower case; an even number of digits. */
export const legacySerial = (pem: string): string => new X509Certificate(pem).serialNumber.toLowerCase();

/** Makes a CA with the openssl command, in a directory that is removed at the end. */
export async function legacyCa(options: LegacyCaOptions = {}): Promise<LegacyCa> {
  const { bits = 4096, installation = 'legacy', lastSerial = '01', pkcs1 = false } = options;
  const directory = temporaryDirectory();
  const path = (name: string) => join(directory, name);
  const keyOf = (name: string) => pooledRsaKey(`${installation}/${name}`, bits);
  const caKey = await keyOf('ca');
  const written = pkcs1 ? createPrivateKey(caKey).export({ type: 'pkcs1', format: 'pem' }) : caKey;
  writeFileSync(path('ca.key'), written, { mode: 0o600 });
  await openssl(
    ...['req', '-new', '-x509', '-sha256', '-days', '3650', '-subj', '/CN=ctrl-exec CA'],
    ...['-key', path('ca.key'), '-out', path('ca.crt')],
  );
  writeFileSync(path('ca.serial'), lastSerial, { mode: 0o600 });
  const pem = readFileSync(path('ca.crt'), 'utf8');

  // One after the other: openssl reads the counter and writes it back without a lock.
  let last: Promise<unknown> = Promise.resolve();
  const sign = (csr: string, days = 825) => {
    const signed = last.then(async () => {
      const certificate = await opensslOn(csr, (request) => [
        ...['x509', '-req', '-sha256', '-days', String(days), '-in', request],
        ...['-CA', path('ca.crt'), '-CAkey', path('ca.key')],
        ...['-CAserial', path('ca.serial'), '-CAcreateserial'],
      ]);
      return { certificate, serial: legacySerial(certificate) };
    });
    last = signed.catch(() => {});
    return signed;
  };

  return {
    directory,
    pem,
    sign,
    async issue(commonName, { key, days } = {}) {
      const own = key ?? (await keyOf(commonName));
      const signed = await sign(await legacyCsr(own, commonName), days);
      return { key: own, ca: pem, ...signed };
    },
  };
}
