import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from './errors.js';
import { shortestAddress } from './ip-prefix.js';
import { agentName, printable } from './names.js';

/** Standard TCP port of agents. */
export const agentPort = 7443;

/** A host as an operator or an API client names it. */
export interface HostArgument {
  /** As it was given. */
  readonly text: string;
  /** Name or address, case kept; IPv6 without brackets. */
  readonly host: string;
  readonly port: number | undefined;
  /** Whether `host` is an IPv6 address, and so needs brackets in a URL. */
  readonly ipv6: boolean;
}

const expected = 'a name, host:port, an address or [IPv6]:port';

/**
 * How a host is addressed within HTTP (RFC 9110 section 7.2): in lower case, IPv6 in brackets and without its zone, which
 * means something on this host only (RFC 6874 section 1).
 */
export function authority(host: string, port: number): string {
  const [name = ''] = host.toLowerCase().split('%', 1);
  return name.includes(':') ? `[${name}]:${port}` : `${name}:${port}`;
}

/** Whether it can be a host name or an IPv4 address: letters, digits, `.`, `_`, `-`; international names as `xn--…`. */
export function isHostName(text: string): boolean {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$/.test(text) || text.includes('..')) return false;
  return !/^[0-9.]+$/.test(text) || !text.includes('.') || shortestAddress(text) === text;
}

/**
 * Reads `name`, `host:port`, `[v6]:port`, `[v6]` or a bare IPv6 address (with a zone, if need be). Whether the name
 * is a registered one is the caller's question.
 */
export function parseHostArgument(text: string): Result<HostArgument, CtrlExecError<'invalid_argument'>> {
  const refuse = (reason: string) =>
    err(
      failure('invalid_argument', `host "${printable(text, 80)}" is not valid: ${reason}`, {
        field: 'host',
        reason,
      }),
    );
  if (text === '') return refuse(`it is empty, expected ${expected}`);
  if (text.length > 255) return refuse('it is longer than 255 characters');
  if (text.startsWith('-')) return refuse('it begins with "-", as only options do');

  const bracketed = /^\[([^[\]]*)\](?::(.*))?$/s.exec(text);
  const [, inner = '', innerPort] = bracketed ?? [];
  if (bracketed && !isIpv6(inner)) return refuse('what stands in brackets must be an IPv6 address');
  if (!bracketed && isIpv6(text)) return ok({ text, host: text, port: undefined, ipv6: true });

  const colon = text.indexOf(':');
  if (!bracketed && colon !== text.lastIndexOf(':'))
    return refuse('it is not an IPv6 address; with a port, write [address]:port');
  const host = bracketed ? inner : colon < 0 ? text : text.slice(0, colon);
  const portText = bracketed ? innerPort : colon < 0 ? undefined : text.slice(colon + 1);
  if (!bracketed && !isHostName(host)) return refuse(`expected ${expected}`);
  if (portText === undefined) return ok({ text, host, port: undefined, ipv6: bracketed !== null });
  const port = /^[1-9][0-9]{0,4}$/.test(portText) ? Number(portText) : 0;
  if (port < 1 || port > 65535) return refuse('the port must be a number from 1 to 65535');
  return ok({ text, host, port, ipv6: bracketed !== null });
}

function isIpv6(text: string): boolean {
  return text.includes(':') && shortestAddress(text) !== undefined;
}

/** One to four numbers, the last of which fills what is left of 32 bits: resolvers take `127.1` and `2130706433` for addresses. */
function isShortAddress(text: string): boolean {
  const parts = text.split('.');
  if (parts.length > 4 || !parts.every((part) => /^(0x[0-9a-f]*|\d+)$/i.test(part))) return false;
  const numbers = parts.map((part) => (/^0\d/.test(part) ? Number.parseInt(part, 8) : Number(part)));
  return numbers.every(
    (number, index) => number < 256 ** (index === parts.length - 1 ? 5 - parts.length : 1),
  );
}

/**
 * The name of an agent that is given one: as `agentName`, and neither an address nor `localhost`, which every host is. Names
 * that are registered already are read with `agentName`.
 * @param field the member that chooses another name
 */
export function newAgentName(
  text: string,
  field = 'name',
): Result<string, CtrlExecError<'invalid_argument'>> {
  const isEveryHost = /^(.*\.)?localhost(\.localdomain)?$/i.test(text);
  if (!isEveryHost && !isShortAddress(text) && shortestAddress(text) === undefined)
    return agentName(text, field);
  const reason = isEveryHost ? 'every host has it' : 'it is an address';
  const message = `"${printable(text)}" cannot be the name of an agent, because ${reason}: give another one`;
  return err(failure('invalid_argument', message, { field, reason }));
}
