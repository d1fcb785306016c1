// Revocation lists of so many entries (arguments; 100,000 unless told): written and read by the adapter, and by the
// generator and the reader of @peculiar/x509. Prints one JSON object a size; times in milliseconds, the median of three.
import 'reflect-metadata';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { build } from 'esbuild';

const sizes = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [100_000];
const rounds = 3;
const root = join(import.meta.dirname, '..');
const home = mkdtempSync(join(tmpdir(), 'ctrl-exec-bench-'));

const load = async () => {
  const outfile = join(home, 'adapter.mjs');
  await build({
    stdin: {
      contents: `
        export { listFields, signList } from './src/adapters/x509/list-writing.ts';
        export { listIssuer } from './src/adapters/x509/list-issuer.ts';
        export { readList } from './src/adapters/x509/list-reading.ts';
        export { nodeCrypto } from './src/adapters/node-crypto/crypto.ts';`,
      resolveDir: root,
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    // What it bundles asks for modules of Node.js in the way of CommonJS.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
  });
  return import(outfile);
};

const measure = async (/** @type {() => unknown} */ work) => {
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }
  return Math.round(times.toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0);
};

try {
  const { listFields, listIssuer, nodeCrypto, readList, signList } = await load();
  const algorithm = { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' };
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const keyPem = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const keys = {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
  };
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '1a',
    name: 'CN=bench CA',
    notBefore: new Date(1.7e12),
    notAfter: new Date(2.4e12),
    keys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const certificate = nodeCrypto().readCertificate(new Uint8Array(ca.rawData))._unsafeUnwrap();
  for (const entries of sizes) {
    const revoked = Array.from({ length: entries }, (_, index) => ({
      serial: `1a${index.toString(16).padStart(30, '0')}`,
      revokedAt: 1.75e12 + index * 1000,
    }));
    const list = { number: 7, revoked, thisUpdate: 1.8e12, nextUpdate: 1.81e12 };

    const ours = () => signList(listIssuer(certificate), listFields(list)._unsafeUnwrap(), keyPem);
    const theirs = async () => {
      const made = await x509.X509CrlGenerator.create({
        issuer: ca.subjectName,
        thisUpdate: new Date(list.thisUpdate),
        nextUpdate: new Date(list.nextUpdate),
        entries: revoked.map(({ serial, revokedAt }) => ({
          serialNumber: serial,
          revocationDate: new Date(revokedAt),
        })),
        extensions: [await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey)],
        signingKey: keys.privateKey,
        signingAlgorithm: algorithm,
      });
      return new Uint8Array(made.rawData);
    };
    const [der, other] = [ours(), await theirs().catch(() => new Uint8Array())];
    const reading = (/** @type {Uint8Array} */ bytes) => readList(bytes, [certificate])._unsafeUnwrap();
    const seen = (/** @type {Uint8Array} */ bytes) => {
      const file = join(home, 'list');
      writeFileSync(file, bytes);
      const text = execFileSync('openssl', ['crl', '-inform', 'DER', '-in', file, '-noout', '-text'], {
        maxBuffer: 1 << 28,
      });
      return String(text).split('Serial Number:').length - 1;
    };
    console.log(
      JSON.stringify({
        entries,
        bytes: { ours: der.length, library: other.length },
        entriesSeenByOpenssl: { ours: seen(der), library: other.length === 0 ? 0 : seen(other) },
        write: {
          ours: await measure(ours),
          library: await measure(theirs).catch((error) => String(error.message)),
        },
        read: {
          ours: await measure(() => reading(der)),
          // It gives up on a list of a few thousand entries.
          library: await measure(async () => {
            const read = new x509.X509Crl(new Uint8Array(der));
            await read.verify({ publicKey: ca });
            return read.entries.length;
          }).catch((error) => String(error.message)),
        },
      }),
    );
  }
} finally {
  rmSync(home, { recursive: true, force: true });
}
