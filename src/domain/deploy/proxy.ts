import { err, ok, type Result } from 'neverthrow';
import { authority } from '../core/host-argument.js';
import { contains, isLoopback, parsePrefixes, shortestAddress } from '../core/ip-prefix.js';

/** A proxy for calls to the control plane. */
export interface ControlPlaneProxy {
  /** With user and password, if there are any: never shown. */
  readonly url: string;
  /** `host:port`, for messages. */
  readonly place: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

const first = (environment: Environment, name: string): string =>
  (environment[name] || environment[name.toLowerCase()] || '').trim();

/**
 * The proxy that the environment names for an HTTPS server, as the Go agent finds it: `HTTPS_PROXY`, unless `NO_PROXY` excepts the
 * server, each also in lower case; never for this host. The error does not repeat the URL, which may hold a password.
 */
export function proxyFor(
  { host, port }: { readonly host: string; readonly port: number },
  environment: Environment,
): Result<ControlPlaneProxy | undefined, string> {
  const text = first(environment, 'HTTPS_PROXY');
  if (text === '' || isExcepted(host, port, first(environment, 'NO_PROXY'))) return ok(undefined);
  const full = text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '')
    return err('HTTPS_PROXY is not the URL of a proxy: expected http://host:port or https://host:port');
  const usual = url.protocol === 'https:' ? 443 : 80;
  const place = authority(url.hostname.replace(/^\[(.*)\]$/, '$1'), Number(url.port || usual));
  return ok({ url: url.href, place });
}

function isExcepted(host: string, port: number, list: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, '');
  if (name === 'localhost' || isLoopback(name)) return true;
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => entry === '*' || fits(entry, name, port));
}

/** An address, a range, or a name with all below it (`.example.com`: only those below); each maybe with a port. */
function fits(entry: string, name: string, port: number): boolean {
  const prefixes = parsePrefixes([entry]);
  if (prefixes.isOk()) return contains(prefixes.value, name);
  const [, given = entry, only] = /^(.*?):(\d{1,5})$/.exec(entry) ?? [];
  if (only !== undefined && Number(only) !== port) return false;
  const bare = given.replace(/^\[(.*)\]$/, '$1').replace(/^\*\./, '.');
  const address = shortestAddress(bare);
  if (address !== undefined) return address === shortestAddress(name);
  return bare.startsWith('.') ? name.endsWith(bare) : name === bare || name.endsWith(`.${bare}`);
}
