import { Buffer } from 'node:buffer';
import { parsePrefixes } from '../../domain/core/ip-prefix.js';

/** What the kernel says of the TCP sockets of this host: /proc/net/tcp and /proc/net/tcp6. */
export interface SocketTables {
  readonly tcp: string;
  readonly tcp6: string;
  /** Byte order of the host: addresses stand there as words of it. */
  readonly littleEndian: boolean;
}

/** Words of four bytes, in hex. */
function kernelHex(bytes: readonly number[], littleEndian: boolean): string {
  const words = Buffer.from(bytes);
  return (littleEndian ? words.swap32() : words).toString('hex').toUpperCase();
}

const listening = '0A';
/** Of an IPv4 address as an IPv6 one (RFC 4291 section 2.5.5.2). */
const mappedPrefix = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/**
 * The users of all sockets that may take a connection to this address: those that listen there, and on all addresses. An IPv4
 * address is that of an IPv6 socket, too.
 */
export function listenerOwners(tables: SocketTables, address: string, port: number): readonly number[] {
  const { tcp, tcp6, littleEndian } = tables;
  const bytes = parsePrefixes([address]).unwrapOr([])[0]?.bytes ?? [];
  const isV4 = bytes.length === 4;
  const hex = (of: readonly number[]) => kernelHex(of, littleEndian);
  const v6 = isV4 ? [...mappedPrefix, ...bytes] : bytes;
  const inTcp6 = rows(tcp6).filter(({ local }) => [hex(v6), '0'.repeat(32)].includes(local));
  const inTcp = isV4 ? rows(tcp).filter(({ local }) => [hex(bytes), '0'.repeat(8)].includes(local)) : [];
  const at = [...inTcp, ...inTcp6].filter((row) => row.state === listening && row.port === port);
  return [...new Set(at.map(({ uid }) => uid))];
}

/**
 * The first of the addresses of a name at which somebody listens, else the first one: of `127.0.0.1` and `::1`, which `localhost` mostly
 * is, a server mostly has one.
 */
export const listeningAddress = (
  tables: SocketTables,
  addresses: readonly string[],
  port: number,
): string | undefined =>
  addresses.find((address) => listenerOwners(tables, address, port).length > 0) ?? addresses[0];

const rows = (table: string) =>
  table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .map(([, local = '', , state = '', , , , uid = '']) => ({
      local: local.split(':')[0] ?? '',
      port: Number.parseInt(local.split(':')[1] ?? '', 16),
      state,
      uid: Number(uid),
    }));
