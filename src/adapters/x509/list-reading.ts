import { Buffer } from 'node:buffer';
import { err, ok, type Result } from 'neverthrow';
import { type Certificate, dispatcherIdOf } from '../../domain/trust/certificate.js';
import { maxRevoked, type RevokedCertificate } from '../../domain/trust/revocation-list.js';
import { type DerValue, derTag, derValues } from '../shared/der.js';
import { type ExtensionValues, extensionId, readExtensions } from './extensions.js';
import { listIssuer } from './list-issuer.js';
import { acceptableKey } from './public-key.js';
import { readSigned, type Signed, whySignatureFails } from './signature.js';
import { isTime, readTime } from './time.js';

/** A list whose signature holds. */
export interface SignedList {
  readonly issuer: Certificate;
  readonly dispatcherId: string | undefined;
  readonly number: number;
  readonly thisUpdate: number;
  readonly revoked: readonly RevokedCertificate[];
}

/** Longest serial (RFC 5280 section 4.1.2.2) and number (section 5.2.3) that is read. */
const maxIntegerBytes = 20;

/**
 * Reads a list (RFC 5280 section 5.1), DER, that one of these CAs signed; else why it is not taken. The signature comes
 * first: what a stranger made costs a digest of it, however it looks inside.
 */
export function readList(
  der: Uint8Array<ArrayBuffer>,
  cas: readonly Certificate[],
): Result<SignedList, string> {
  const frame = readSigned(der);
  const fields = frame && derValues(frame.content, 7);
  if (!fields) return err('is not a well-formed revocation list');
  const [version, algorithm, name, ...rest] = fields;
  if (version?.tag !== derTag.integer || hex(version.content) !== '01') return err('is not of version 2');
  if (algorithm?.tag !== derTag.sequence || hex(algorithm.content) !== frame.algorithm)
    return err('names two signature algorithms');
  if (name?.tag !== derTag.sequence) return err('names no issuer');
  return signer(frame, name.whole, cas).andThen((issuer) =>
    content(rest).map((says): SignedList => ({ issuer, ...says })),
  );
}

/** Which of the CAs signed it. */
function signer(frame: Signed, name: Uint8Array, cas: readonly Certificate[]): Result<Certificate, string> {
  let reason = 'is of another CA';
  for (const ca of cas) {
    const issuer = ca.isCa ? listIssuer(ca) : undefined;
    if (!issuer || !Buffer.from(issuer.name).equals(name)) continue;
    const outcome = acceptableKey(ca.spki).andThen((key) => {
      const wrong = issuer.maySignLists
        ? /* defence: list-is-signed-by-ca */ whySignatureFails(frame, key)
        : 'the key usage of its CA certificate does not allow revocation lists';
      return wrong === undefined ? ok(ca) : err(wrong);
    });
    if (outcome.isOk()) return outcome;
    reason = outcome.error;
  }
  return err(reason);
}

/** What follows the issuer's name. */
function content(fields: readonly DerValue[]): Result<Omit<SignedList, 'issuer'>, string> {
  const remaining = [...fields];
  const next = (is: (value: DerValue | undefined) => boolean) =>
    is(remaining[0]) ? remaining.shift() : undefined;
  const from = next(isTime);
  const until = next(isTime);
  const entries = next((value) => value?.tag === derTag.sequence);
  const wrapped = next((value) => value?.tag === derTag.context(0));
  if (remaining.length > 0) return err('has a field that is not expected');

  const thisUpdate = from && readTime(from);
  if (thisUpdate === undefined || (until && readTime(until) === undefined))
    return err('has no dates that can be read');
  const extensions = wrapped && readExtensions(wrapped.content);
  if (!extensions) return err('has no extensions, or one that is malformed or occurs twice');
  return listNumber(extensions).andThen((number) =>
    listDispatcher(extensions).andThen((dispatcherId) =>
      revokedIn(entries).map((revoked) => ({ dispatcherId, number, thisUpdate, revoked })),
    ),
  );
}

/** The dispatcher that issuerAltName names (RFC 5280 section 5.2.2); other names than of dispatchers are nobody's business. */
function listDispatcher(extensions: ExtensionValues): Result<string | undefined, string> {
  const found = extensions.get(extensionId.issuerAltName);
  if (!found) return ok(undefined);
  const [names, ...rest] = derValues(found.value, 1) ?? [];
  const values =
    names?.tag === derTag.sequence && rest.length === 0 ? derValues(names.content, 100) : undefined;
  if (!values || values.length === 0) return err('has a malformed issuerAltName');
  const ids = values.flatMap(({ tag, content }) =>
    tag === derTag.implicit(6) ? (dispatcherIdOf(Buffer.from(content).toString('latin1')) ?? []) : [],
  );
  return ids.length > 1 ? err('names several dispatchers') : ok(ids[0]);
}

const knownInList: ReadonlySet<string> = new Set([
  extensionId.authorityKeyIdentifier,
  extensionId.crlNumber,
  extensionId.issuerAltName,
]);

function listNumber(extensions: ExtensionValues): Result<number, string> {
  if (extensions.has(extensionId.deltaCrlIndicator)) return err('is a delta list');
  if (extensions.has(extensionId.issuingDistributionPoint))
    return err('is an indirect or a partitioned list');
  if (hasUnknownCritical(extensions, knownInList)) return err('has an unknown critical extension');
  const numbers = derValues(extensions.get(extensionId.crlNumber)?.value ?? new Uint8Array(), 1);
  const digits = unsigned(numbers?.[0]);
  if (digits === undefined) return err('has no number, or one that is negative or malformed');
  const number = Number.parseInt(digits, 16);
  return Number.isSafeInteger(number) ? ok(number) : err('has a number above 2^53 - 1');
}

const knownInEntry: ReadonlySet<string> = new Set([extensionId.reasonCode]);

function revokedIn(entries: DerValue | undefined): Result<readonly RevokedCertificate[], string> {
  if (!entries) return ok([]);
  const values = derValues(entries.content, maxRevoked);
  if (!values) return err(`has a malformed entry, or more than ${maxRevoked}`);
  const revoked: RevokedCertificate[] = [];
  for (const value of values) {
    const [serial, time, wrapped] = value.tag === derTag.sequence ? (derValues(value.content, 3) ?? []) : [];
    const digits = unsigned(serial);
    const revokedAt = time && readTime(time);
    const where = `entry ${revoked.length + 1}`;
    if (digits === undefined || digits === '0') return err(`${where} has no serial that is valid`);
    if (revokedAt === undefined) return err(`${where} has no date that can be read`);
    if (wrapped) {
      const extensions = readExtensions(wrapped.whole);
      if (!extensions) return err(`${where} has an extension that is malformed or occurs twice`);
      if (extensions.has(extensionId.certificateIssuer)) return err('is an indirect list');
      if (hasUnknownCritical(extensions, knownInEntry))
        return err(`${where} has an unknown critical extension`);
    }
    revoked.push({ serial: digits, revokedAt });
  }
  return ok(revoked);
}

const hasUnknownCritical = (extensions: ExtensionValues, known: ReadonlySet<string>) =>
  [...extensions].some(([id, { critical }]) => critical && !known.has(id));

/** The hex digits of an INTEGER as a serial is written, `0` for zero; undefined when negative, padded or too long. */
function unsigned(value: DerValue | undefined): string | undefined {
  const [first = 0x80, second = 0x80] = value?.content ?? [];
  if (value?.tag !== derTag.integer || first >= 0x80) return undefined;
  if (first === 0 && value.content.length > 1 && second < 0x80) return undefined;
  if (value.content.length - (first === 0 ? 1 : 0) > maxIntegerBytes) return undefined;
  return hex(value.content).replace(/^0+(?=.)/, '');
}

const hex = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');
