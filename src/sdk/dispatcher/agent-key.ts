import { hex } from '../../domain/bytes.js';
import type { Certificate } from '../../domain/certificate.js';
import { printable } from '../../domain/names.js';
import type { DispatcherContext } from './context.js';

/** By which a key is known in the registry. */
export const spkiDigest = ({ crypto }: Pick<DispatcherContext, 'crypto'>, peer: Certificate): string =>
  hex(crypto.sha256(peer.spki));

/** Who a certificate says it is of, for people. */
export const describe = ({ uris, dnsNames, commonName, serial }: Certificate): string =>
  printable(uris[0] ?? dnsNames[0] ?? commonName ?? `serial ${serial}`);
