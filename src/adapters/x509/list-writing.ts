import { Buffer } from 'node:buffer';
import { createPrivateKey } from 'node:crypto';
import { err, ok, Result } from 'neverthrow';
import { dispatcherUri } from '../../domain/trust/certificate.js';
import { maxRevoked, type RevokedCertificate } from '../../domain/trust/revocation-list.js';
import { canonicalSerial } from '../../domain/trust/serial.js';
import { derHex, derInteger, derTag } from '../shared/der.js';
import { extensionId } from './extensions.js';
import type { ListIssuer } from './list-issuer.js';
import { signatureAlgorithm, signDocument } from './signature.js';
import { writeTime } from './time.js';

/** What a list says; times are epoch milliseconds. */
export interface ListContent {
  readonly dispatcherId?: string | undefined;
  readonly number: number;
  readonly revoked: readonly RevokedCertificate[];
  readonly thisUpdate: number;
  readonly nextUpdate: number;
}

type Unusable = { readonly field: string; readonly reason: string };

/** The fields of the list in DER, hex, checked and in order. */
export interface ListFields {
  readonly issuerAltName: string | undefined;
  readonly number: string;
  readonly times: string;
  readonly revoked: string;
}

/** Longest that a serial may be (RFC 5280 section 4.1.2.2), in hex digits. */
const maxSerialDigits = 40;

const unusable = (field: string, reason: string): Result<never, Unusable> => err({ field, reason });

/** What a list says, ready to be written, or why it cannot be said. */
export function listFields({
  dispatcherId,
  number,
  revoked,
  thisUpdate,
  nextUpdate,
}: ListContent): Result<ListFields, Unusable> {
  if (!Number.isSafeInteger(number) || number < 0)
    return unusable('number', 'expected an integer from 0 to 2^53 - 1');
  const [from, until] = [writeTime(thisUpdate), writeTime(nextUpdate)];
  if (from === undefined || until === undefined)
    return unusable('validity', 'dates are not within the years 1970 to 9999');
  if (nextUpdate <= thisUpdate) return unusable('validity', 'ends before it begins');
  return Result.combine(onceEach(revoked).map(entry)).andThen((entries) =>
    entries.length > maxRevoked
      ? unusable('revoked', `${entries.length} entries, expected ${maxRevoked} or fewer`)
      : ok({
          issuerAltName:
            dispatcherId === undefined
              ? undefined
              : derHex(
                  derTag.sequence,
                  derHex(derTag.implicit(6), hex(Buffer.from(dispatcherUri(dispatcherId)))),
                ),
          number: derInteger(number.toString(16)),
          times: from + until,
          // Without entries the whole field is absent (RFC 5280 section 5.1.2.6).
          revoked: entries.length === 0 ? '' : derHex(derTag.sequence, ...entries),
        }),
  );
}

/** Each serial with the earliest of its times, lowest serial first. */
function onceEach(revoked: readonly RevokedCertificate[]): readonly RevokedCertificate[] {
  const earliest = new Map<string, RevokedCertificate>();
  for (const one of revoked) {
    const known = earliest.get(one.serial);
    if (known === undefined || one.revokedAt < known.revokedAt) earliest.set(one.serial, one);
  }
  return [...earliest.values()].sort(
    ({ serial: a }, { serial: b }) => a.length - b.length || (a < b ? -1 : 1),
  );
}

function entry({ serial, revokedAt }: RevokedCertificate): Result<string, Unusable> {
  if (canonicalSerial(serial) !== serial || serial.length > maxSerialDigits)
    return unusable('revoked', 'a serial is not canonical, or has more than 20 bytes');
  const time = writeTime(revokedAt);
  return time === undefined
    ? unusable('revoked', `the time of serial ${serial} is not within the years 1970 to 9999`)
    : ok(derHex(derTag.sequence, derInteger(serial), time));
}

/** A signed list (RFC 5280 section 5.1), DER. Throws where the key cannot be used, without telling anything of it. */
export function signList(issuer: ListIssuer, fields: ListFields, keyPem: string): Uint8Array<ArrayBuffer> {
  const key = createPrivateKey({ key: keyPem, format: 'pem' });
  const algorithm = signatureAlgorithm(key).match(
    (value) => value,
    (reason) => {
      throw new Error(reason);
    },
  );
  const keyIdentifier = derHex(derTag.implicit(0), hex(issuer.keyIdentifier));
  const extensions = derHex(
    derTag.sequence,
    ...(fields.issuerAltName === undefined
      ? []
      : [extension(extensionId.issuerAltName, fields.issuerAltName)]),
    extension(extensionId.authorityKeyIdentifier, derHex(derTag.sequence, keyIdentifier)),
    extension(extensionId.crlNumber, fields.number),
  );
  const list = derHex(
    derTag.sequence,
    derInteger('1'),
    derHex(derTag.sequence, algorithm),
    hex(issuer.name),
    fields.times,
    fields.revoked,
    derHex(derTag.context(0), extensions),
  );
  return signDocument(Buffer.from(list, 'hex'), algorithm, key);
}

const extension = (id: string, value: string) =>
  derHex(derTag.sequence, derHex(derTag.objectIdentifier, id), derHex(derTag.octetString, value));

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
