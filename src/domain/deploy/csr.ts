import { err, ok, type Result } from 'neverthrow';
import { shortestAddress } from '../core/ip-prefix.js';
import { printable } from '../core/names.js';

/** Whom a certificate is asked for. */
export interface CsrSubject {
  readonly commonName: string;
  readonly names: SubjectNames;
}

/** The subjectAltName (RFC 5280 section 4.2.1.6) of a CSR. */
export interface SubjectNames {
  readonly dnsNames: readonly string[];
  readonly emails: readonly string[];
  /** In their shortest form. */
  readonly addresses: readonly string[];
}

const maxNames = 1000;
const maxLength = 255;

/** One name, without controls and what else cannot be seen. */
const isVisible = (text: string) => text === printable(text, maxLength);

/**
 * Subject and names of a CSR: with `@` a name is an e-mail address, an IP address is one, all others are DNS names.
 * Repeated names are asked for once. The error is a reason.
 */
export function csrSubject(commonName: string, sans: readonly string[]): Result<CsrSubject, string> {
  if (commonName.trim() === '') return err('empty common name');
  if (commonName.length > maxLength || !isVisible(commonName))
    return err(
      `common name "${printable(commonName, 60)}" is too long or has characters that cannot be seen`,
    );
  if (sans.length > maxNames) return err(`more than ${maxNames} names`);
  const unusable = sans.find((san) => !/^[\x21-\x7e]{1,255}$/.test(san));
  if (unusable !== undefined)
    return err(
      `name "${printable(unusable, 60)}" cannot be used: expected 1 to 255 visible ASCII characters`,
    );

  const distinct = [...new Set(sans)];
  const emails = distinct.filter((san) => san.includes('@'));
  const others = distinct.filter((san) => !san.includes('@'));
  return ok({
    commonName,
    names: {
      dnsNames: others.filter((san) => addressOf(san) === undefined),
      emails,
      addresses: [...new Set(others.flatMap((san) => addressOf(san) ?? []))],
    },
  });
}

/** The address that a name is; one with a zone means something on one host only, and is none. */
const addressOf = (san: string): string | undefined => (san.includes('%') ? undefined : shortestAddress(san));
