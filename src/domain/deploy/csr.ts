import { err, ok, type Result } from 'neverthrow';
import { isHostName } from '../core/host-argument.js';
import { shortestAddress } from '../core/ip-prefix.js';
import { printable } from '../core/names.js';

/** Whom a certificate is asked for. */
export interface CsrSubject {
  /** Undefined: the name is too long for one (RFC 5280, ub-common-name), and stands among `names` alone. */
  readonly commonName: string | undefined;
  readonly names: SubjectNames;
}

/** The subjectAltName (RFC 5280 section 4.2.1.6) of a CSR. */
export interface SubjectNames {
  readonly dnsNames: readonly string[];
  readonly emails: readonly string[];
  /** In their shortest form. */
  readonly addresses: readonly string[];
  readonly uris: readonly string[];
}

const maxNames = 1000;
const maxLength = 255;
const maxCommonName = 64;

/** One name, without controls and what else cannot be seen. */
const isVisible = (text: string) => text === printable(text, maxLength);

type Name = readonly [kind: keyof SubjectNames, name: string];

/** What kind of name it is, as it is asked for: host names in lower case and without a dot at their end. */
function kindOf(san: string): Name {
  if (/^([a-z][a-z0-9+.-]*:\/\/|urn:)/i.test(san)) return ['uris', san];
  const at = san.lastIndexOf('@');
  if (at >= 0) return ['emails', san.slice(0, at + 1) + san.slice(at + 1).toLowerCase()];
  const address = addressOf(san);
  return address === undefined ? ['dnsNames', hostName(san)] : ['addresses', address];
}

const hostName = (text: string): string => text.toLowerCase().replace(/\.$/, '');

/** The address that a name is; one with a zone means something on one host only, and is none. */
const addressOf = (san: string): string | undefined => (san.includes('%') ? undefined : shortestAddress(san));

/**
 * Subject and names of a CSR: what begins as a URI is one, with `@` a name is an e-mail address, an IP address is one, all others
 * are DNS names. Repeated names are asked for once. The error is a reason.
 */
export function csrSubject(commonName: string, sans: readonly string[]): Result<CsrSubject, string> {
  if (commonName.trim() === '') return err('empty common name');
  if (commonName.length > maxLength || !isVisible(commonName))
    return err(
      `common name "${printable(commonName, 60)}" is too long or has characters that cannot be seen`,
    );
  const isHost = isHostName(commonName.replace(/^\*\./, ''));
  const subject = isHost ? (addressOf(commonName) ?? hostName(commonName)) : commonName;
  const fits = subject.length <= maxCommonName;
  const asked = fits ? sans : [commonName, ...sans];
  if (sans.length > maxNames) return err(`more than ${maxNames} names`);
  const unusable = asked.find((san) => !/^[\x21-\x7e]{1,255}$/.test(san) || san === '.');
  if (unusable !== undefined)
    return err(
      `name "${printable(unusable, 60)}" cannot be used: expected 1 to 255 visible ASCII characters`,
    );

  const names = asked.map(kindOf);
  const ofKind = (wanted: keyof SubjectNames) => [
    ...new Set(names.flatMap(([kind, name]) => (kind === wanted ? [name] : []))),
  ];
  return ok({
    commonName: fits ? subject : undefined,
    names: {
      dnsNames: ofKind('dnsNames'),
      emails: ofKind('emails'),
      addresses: ofKind('addresses'),
      uris: ofKind('uris'),
    },
  });
}
