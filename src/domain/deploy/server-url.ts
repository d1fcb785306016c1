import { err, ok, type Result } from 'neverthrow';
import { printable } from '../core/names.js';

/** Where the control plane is. */
export interface ControlPlaneUrl {
  /** `https://host:port`, the port only where it is not 443. */
  readonly origin: string;
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
  /** In front of the paths of the API; empty or `/…` without a slash at its end. */
  readonly basePath: string;
}

const example = 'expected an https:// URL such as https://certctl.example.com:8443';

/** Reads the URL of a control plane: HTTPS, no user, query or fragment. The error says what to change. */
export function controlPlaneUrl(text: string): Result<ControlPlaneUrl, string> {
  if (text.trim() === '') return err(`is empty, ${example}`);
  // What stands in front of an @ may be a password.
  const shown = `"${printable(text.replace(/\/\/[^/]*@/, '//…@'), 100)}"`;
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return err(`${shown} has no scheme, ${example}`);
  if (scheme === 'http')
    return err(`${shown} is plaintext http://, and the control plane speaks HTTPS only: write https://`);
  if (scheme !== 'https') return err(`${shown} has the scheme ${scheme}://, ${example}`);
  if (!URL.canParse(text) || /[\s\\]/.test(text)) return err(`${shown} is not a URL, ${example}`);
  const url = new URL(text);
  if (url.username !== '' || url.password !== '')
    return err(`${shown} names a user: the API key is the only credential`);
  if (url.search !== '' || url.hash !== '' || /[?#]/.test(text))
    return err(`${shown} has a query or a fragment, ${example}`);
  return ok({
    origin: url.origin,
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: url.port === '' ? 443 : Number(url.port),
    basePath: url.pathname.replace(/\/+$/, ''),
  });
}
