import ipaddr from 'ipaddr.js';
import { err, ok, type Result } from 'neverthrow';

/** An address range: its first address in bytes (4 or 16) and how many of their bits count. */
export interface Prefix {
  readonly bytes: readonly number[];
  readonly length: number;
}

/** Address ranges, IPv4 and IPv6. */
export type Prefixes = readonly Prefix[];

/** Length of `::ffff:0:0/96`, under which IPv6 writes the IPv4 addresses. */
const mappedLength = 96;
const zonePattern = /^[A-Za-z0-9._-]{1,32}$/;

/** Reads an address without a zone. Only the usual text forms: `010.0.0.1`, `0x7f.1` and `127.1` are none. */
function parseAddress(text: string): ipaddr.IPv4 | ipaddr.IPv6 | undefined {
  if (text.length > 45) return undefined;
  if (!text.includes(':'))
    return ipaddr.IPv4.isValidFourPartDecimal(text) ? ipaddr.IPv4.parse(text) : undefined;
  if (!/^[0-9A-Fa-f:.]+$/.test(text)) return undefined;
  const plain = withoutDottedTail(text);
  return plain !== undefined && ipaddr.IPv6.isValid(plain) ? ipaddr.IPv6.parse(plain) : undefined;
}

/**
 * IPv6 text with the IPv4 address at its end, if any, written as two hex groups: the library reads `::10.0.0.1`, which
 * is `::a00:1`, as if it were IPv4-mapped.
 */
function withoutDottedTail(text: string): string | undefined {
  const start = text.lastIndexOf(':') + 1;
  const tail = text.slice(start);
  if (!tail.includes('.')) return text;
  if (!ipaddr.IPv4.isValidFourPartDecimal(tail)) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = ipaddr.IPv4.parse(tail).octets;
  return `${text.slice(0, start)}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

function withoutZone(text: string): { address: string; zone: string | undefined } {
  const percent = text.indexOf('%');
  if (percent < 0) return { address: text, zone: undefined };
  return { address: text.slice(0, percent), zone: text.slice(percent + 1) };
}

/**
 * An address in its shortest text form (RFC 5952), IPv4-mapped IPv6 as IPv4; the zone of a link-local address is kept.
 * @returns undefined when the text is not an address
 */
export function shortestAddress(text: string): string | undefined {
  const { address, zone } = withoutZone(text);
  const parsed = parseAddress(address);
  if (!parsed) return undefined;
  if (parsed.kind() === 'ipv4') return zone === undefined ? parsed.toString() : undefined;
  const v6 = parsed as ipaddr.IPv6;
  if (zone !== undefined && (!zonePattern.test(zone) || v6.isIPv4MappedAddress())) return undefined;
  if (v6.isIPv4MappedAddress()) return v6.toIPv4Address().toString();
  return v6.toRFC5952String() + (zone === undefined ? '' : `%${zone}`);
}

function parsePrefix(entry: string): Result<Prefix, string> {
  const slash = entry.indexOf('/');
  const text = slash < 0 ? entry : entry.slice(0, slash);
  const address = parseAddress(text);
  if (!address) return err('expected an IPv4 or IPv6 address, or address/prefix length');
  const bytes = address.toByteArray();
  const bits = bytes.length * 8;
  const lengthText = slash < 0 ? String(bits) : entry.slice(slash + 1);
  const length = /^(0|[1-9][0-9]{0,2})$/.test(lengthText) ? Number(lengthText) : -1;
  if (length < 0 || length > bits) return err(`the prefix length must be a number from 0 to ${bits}`);
  const mapped =
    address.kind() === 'ipv6' && (address as ipaddr.IPv6).isIPv4MappedAddress() && length >= mappedLength;
  return ok(mapped ? { bytes: bytes.slice(12), length: length - mappedLength } : { bytes, length });
}

/**
 * Reads addresses and CIDR ranges of any prefix length; bits below the prefix are ignored. The error names the first
 * entry that is neither.
 */
export function parsePrefixes(
  list: readonly string[],
): Result<Prefixes, { readonly entry: string; readonly reason: string }> {
  const prefixes: Prefix[] = [];
  for (const entry of list) {
    const prefix = parsePrefix(entry);
    if (prefix.isErr()) return err({ entry, reason: prefix.error });
    prefixes.push(prefix.value);
  }
  return ok(prefixes);
}

/**
 * Whether an address lies in one of the ranges. An IPv4-mapped IPv6 address counts as IPv4, so `::/0` is every IPv6
 * address and no IPv4 one. What is not an address lies nowhere.
 */
export function contains(prefixes: Prefixes, address: string): boolean {
  const shortest = shortestAddress(address);
  const bytes = shortest && parseAddress(withoutZone(shortest).address)?.toByteArray();
  if (!bytes) return false;
  return prefixes.some((prefix) => prefix.bytes.length === bytes.length && shares(prefix, bytes));
}

function shares({ bytes, length }: Prefix, other: readonly number[]): boolean {
  return bytes.every((byte, index) => {
    const counted = Math.min(8, Math.max(0, length - index * 8));
    return (byte ^ (other[index] ?? 0)) >> (8 - counted) === 0;
  });
}

const loopback = parsePrefixes(['127.0.0.0/8', '::1']).unwrapOr([]);

/** Whether an address can only be reached from its own host. */
export const isLoopback = (address: string): boolean => contains(loopback, address);

/**
 * Who is counted as one: an IPv4 address by itself, of IPv6 the /64 (`2001:db8:0:1::/64`), for whoever has one address of
 * it has all. The zone of a link-local address is kept; what is not an address is a source of its own.
 */
export function sourceOf(address: string): string {
  const shortest = shortestAddress(address);
  if (shortest === undefined || !shortest.includes(':')) return shortest ?? address;
  const { address: plain, zone } = withoutZone(shortest);
  const network = parseAddress(plain)
    ?.toByteArray()
    .map((byte, index) => (index < 8 ? byte : 0));
  const text = ipaddr.fromByteArray(network ?? []).toString();
  return `${shortestAddress(text) ?? text}${zone === undefined ? '' : `%${zone}`}/64`;
}
