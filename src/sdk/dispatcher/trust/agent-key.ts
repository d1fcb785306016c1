import { hex } from '../../../domain/core/bytes.js';
import { printable } from '../../../domain/core/names.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { DispatcherContext } from '../context.js';

/** By which a key is known in the registry. */
export const spkiDigest = ({ crypto }: Pick<DispatcherContext, 'crypto'>, peer: Certificate): string =>
  hex(crypto.sha256(peer.spki));

/** Who a certificate says it is of, for people. */
export const describe = ({ uris, dnsNames, commonName, serial }: Certificate): string =>
  printable(uris[0] ?? dnsNames[0] ?? commonName ?? `serial ${serial}`);
