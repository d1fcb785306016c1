import { createPrivateKey, sign } from 'node:crypto';
import type { Certificate } from '../../src/domain/trust/certificate.js';
import { der } from './certificate-samples.js';

const hex = (text: string) => Buffer.from(text, 'hex');

export const utcTime = (text: string) => der(0x17, text);
export const generalizedTime = (text: string) => der(0x18, text);
export const integer = (digits: string) => der(0x02, hex(digits));

/** An Extension; `critical` is left out when it is undefined. */
export const extension = (id: string, value: Uint8Array, critical?: number) =>
  der(
    0x30,
    der(0x06, hex(id)),
    critical === undefined ? '' : der(0x01, Buffer.from([critical])),
    der(0x04, value),
  );
export const crlNumber = (digits = '07', critical?: number) => extension('551d14', integer(digits), critical);

export const entry = (serial: string, time = utcTime('250102030405Z'), ...extensions: Buffer[]) =>
  der(0x30, integer(serial), time, extensions.length === 0 ? '' : der(0x30, ...extensions));

/** The Name of a CA, from its certificate: the subject, behind version, serial, algorithm, issuer and dates. */
export function nameOf({ der: certificate }: Certificate): Buffer {
  const bytes = Buffer.from(certificate);
  const end = (at: number) => {
    const first = bytes.readUInt8(at + 1);
    const size = first < 0x80 ? 0 : first - 0x80;
    return at + 2 + size + (size === 0 ? first : bytes.readUIntBE(at + 2, size));
  };
  const inside = (at: number) => at + 2 + Math.max(0, bytes.readUInt8(at + 1) - 0x80);
  let at = inside(inside(0));
  const skipped = bytes.readUInt8(at) === 0xa0 ? 5 : 4;
  for (let field = 0; field < skipped; field += 1) at = end(at);
  return bytes.subarray(at, end(at));
}

export interface ListSample {
  readonly name: Buffer;
  /** PKCS#8 PEM of the CA. */
  readonly key: string;
  /** Instead of version 2. */
  readonly version?: Buffer;
  readonly dates?: readonly Buffer[];
  /** Undefined: no field. */
  readonly entries?: readonly Buffer[] | undefined;
  /** Undefined: no field. */
  readonly extensions?: readonly Buffer[] | undefined;
  readonly digest?: string;
  /** AlgorithmIdentifier, DER, hex: by default that of the digest with ECDSA. */
  readonly algorithm?: string;
  /** Of the inner AlgorithmIdentifier, where it differs. */
  readonly innerAlgorithm?: string;
  /** Behind the last field. */
  readonly beyond?: Buffer;
}

export const ecdsa = { sha1: '300906072a8648ce3d0401', sha384: '300a06082a8648ce3d040303' } as const;

/** A list that says whatever a test wants it to say, correctly signed; DER. */
export function sampleList(sample: ListSample): Buffer {
  const { digest = 'sha384', algorithm = ecdsa.sha384, entries } = sample;
  const extensions = 'extensions' in sample ? sample.extensions : [crlNumber()];
  const list = large(
    0x30,
    sample.version ?? integer('01'),
    hex(sample.innerAlgorithm ?? algorithm),
    sample.name,
    ...(sample.dates ?? [utcTime('250101000000Z'), utcTime('250201000000Z')]),
    entries === undefined ? Buffer.alloc(0) : large(0x30, ...entries),
    extensions === undefined ? Buffer.alloc(0) : der(0xa0, der(0x30, ...extensions)),
    sample.beyond ?? Buffer.alloc(0),
  );
  const signature = sign(digest, list, createPrivateKey(sample.key));
  return large(0x30, list, hex(algorithm), der(0x03, Buffer.from([0]), signature));
}

/** One element of any size. */
export function large(tag: number, ...contents: readonly Buffer[]): Buffer {
  const content = Buffer.concat(contents);
  if (content.length < 0x10000) return der(tag, content);
  return Buffer.concat([
    Buffer.from([tag, 0x83]),
    Buffer.from([content.length >> 16]),
    tail(content.length),
    content,
  ]);
}
const tail = (length: number) => Buffer.from([(length >> 8) & 0xff, length & 0xff]);

export const pemOf = (bytes: Uint8Array, label = 'X509 CRL') =>
  `-----BEGIN ${label}-----\n${Buffer.from(bytes).toString('base64').replaceAll(/.{64}/g, '$&\n').trimEnd()}\n-----END ${label}-----\n`;
