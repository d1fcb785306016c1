import { err, ok, type Result } from 'neverthrow';
import { contentLines } from '../../../domain/core/configuration.js';
import { legacyDispatcherId } from '../../../domain/core/names.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import { actsAs, type Certificate, isDispatcherOf } from '../../../domain/trust/certificate.js';
import {
  ancestors,
  broughtBy,
  formatOrigins,
  parseOrigins,
  type TrustOrigins,
} from '../../../domain/trust/trust-origins.js';
import { formatTrust, parseTrust, type TrustLines } from '../../../domain/trust/trusted-dispatchers.js';
import type { AgentItem, KeyStoreChange, KeyStoreContents } from '../../../ports/key-store.js';
import type { AgentContext } from '../context.js';

/** The documents that say which dispatchers are trusted. */
export const trustItems = [
  'trusted-dispatchers',
  'dispatcher-certificates',
  'trust-origins',
  'signing-dispatchers',
] as const;

/** The trust lines as they are stored, and what is known of each. */
export interface StoredTrust {
  readonly lines: TrustLines;
  /**
   * Certificates of these serials, as far as they are held. One is held from when its dispatcher has signed, has paired by
   * version 2, or was announced with it by one that signs: from then on signatures are required of this certificate.
   */
  readonly dispatchers: ReadonlyMap<string, Certificate>;
  readonly origins: TrustOrigins;
}

/** Reads the lines. A certificate that cannot be read is left out: it is learnt again at that dispatcher's next contact. */
export function readTrustLines(
  { crypto }: Pick<AgentContext, 'crypto'>,
  documents: KeyStoreContents<(typeof trustItems)[number]>,
): StoredTrust & { readonly warnings: readonly string[] } {
  const { lines, warnings } = parseTrust(documents['trusted-dispatchers'] ?? '');
  // Version 0.1 kept a list of the ids that had signed, if any had, certificates of others as well, and no origins.
  const former =
    documents['signing-dispatchers'] ?? (documents['trust-origins'] === undefined ? '' : undefined);
  const signed = former === undefined ? undefined : new Set(contentLines(former).map(({ text }) => text));
  const dispatchers = new Map<string, Certificate>();
  for (const pem of splitCertificates(documents['dispatcher-certificates'] ?? '')) {
    const read = crypto.readCertificate(pem);
    const id = read.isOk() ? lines.get(read.value.serial) : undefined;
    if (read.isOk() && id !== undefined && (signed?.has(id) ?? true))
      dispatchers.set(read.value.serial, read.value);
  }
  return { lines, warnings, dispatchers, origins: parseOrigins(documents['trust-origins']) };
}

/** The documents in which `readTrustLines` finds this again. */
export function writeTrustLines({ lines, dispatchers, origins }: StoredTrust): KeyStoreChange<AgentItem> {
  const pems = [...lines.keys()].flatMap((serial) => dispatchers.get(serial)?.pem ?? []);
  return {
    'trusted-dispatchers': formatTrust(lines),
    'dispatcher-certificates': pems.length > 0 ? pems.join('') : null,
    'trust-origins': formatOrigins(origins, lines.keys()),
    'signing-dispatchers': null,
  };
}

/** Whether a trusted serial has shown by its certificate that it is of the dispatcher that it is trusted as. */
export function isProven(
  { lines, dispatchers }: Pick<StoredTrust, 'lines' | 'dispatchers'>,
  serial: string,
): boolean {
  const [id, certificate] = [lines.get(serial), dispatchers.get(serial)];
  return id !== undefined && certificate !== undefined && isDispatcherOf(certificate, id);
}

/**
 * The lines that count where these serials are revoked. Revoked serials themselves are among them: a chain of successions may begin
 * there. What they brought without a proof is not.
 */
export function livingLines(stored: StoredTrust, revoked: ReadonlySet<string>): TrustLines {
  const gone = broughtBy(stored.origins, revoked, (serial) => isProven(stored, serial));
  return new Map(
    [...stored.lines].filter(/* defence: brought-serials-go-with-revoked */ ([serial]) => !gone.has(serial)),
  );
}

/**
 * With the certificate that a dispatcher has shown in a signed request, and the id that it names: a line without an id
 * (`legacy`) takes it. So do the lines without one that this serial descends from, unless another line has that id already.
 */
export function withShown(
  stored: StoredTrust,
  serial: string,
  id: string,
  certificate: Certificate | undefined,
): StoredTrust {
  const isKnown = [...stored.lines.values()].includes(id);
  const same = isKnown ? new Set<string>() : ancestors(stored.origins, serial);
  const lines = [...stored.lines].map(
    ([each, of]) =>
      [each, each === serial || (of === legacyDispatcherId && same.has(each)) ? id : of] as const,
  );
  const dispatchers = certificate ? new Map(stored.dispatchers).set(serial, certificate) : stored.dispatchers;
  return { ...stored, lines: new Map(lines), dispatchers };
}

/**
 * With one line more, or another one for this serial.
 * @param broughtBy the serial of the request that brings it; undefined: a person or a pairing does, or it comes beside that serial
 *   and has no right to remove it
 */
export const withLine = (
  { lines, dispatchers, origins }: StoredTrust,
  serial: string,
  id: string,
  { certificate, broughtBy }: { readonly certificate?: Certificate; readonly broughtBy: string | undefined },
): StoredTrust => ({
  lines: new Map(lines).set(serial, id),
  dispatchers: certificate ? new Map(dispatchers).set(serial, certificate) : dispatchers,
  origins: new Map([
    ...[...origins].filter(([of]) => of !== serial),
    ...(broughtBy === undefined ? [] : [[serial, broughtBy] as const]),
  ]),
});

/** The id of the dispatcher whose certificate this is, or why it is none that is trusted here. */
export function dispatcherOf(
  context: Pick<AgentContext, 'crypto'>,
  state: Pick<StoredTrust, 'dispatchers'> & { readonly trust: TrustLines },
  certificate: Certificate,
): Result<string, string> {
  const line = /* defence: serial-is-trusted */ state.trust.get(certificate.serial);
  if (line === undefined) return err('it is not trusted, or whoever brought it is revoked');
  if (!isTheKnown(context, state, certificate)) return err('another certificate of this serial is known');
  const id = /* defence: certificate-fits-trust-line */ actsAs(certificate, line);
  return id === undefined
    ? err(`it is trusted as dispatcher ${line}, and the certificate is of ${certificate.uris.join(' ')}`)
    : ok(id);
}

/** A serial is trusted for the one certificate that was seen with it: any CA that is accepted here could issue another. */
export function isTheKnown(
  { crypto }: Pick<AgentContext, 'crypto'>,
  { dispatchers }: Pick<StoredTrust, 'dispatchers'>,
  certificate: Certificate,
): boolean {
  const known = dispatchers.get(certificate.serial);
  return (
    known === undefined ||
    /* defence: trusted-certificate-is-the-known-one */ crypto.equal(known.der, certificate.der)
  );
}
