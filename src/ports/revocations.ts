import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { KeyPin } from '../domain/trust/agent-record.js';
import type { BannedKey } from '../domain/trust/banned-key.js';
import type { IssuedCertificate } from '../domain/trust/issued-certificate.js';

type StoreResult<T, Code extends CtrlExecError['code'] = never> = ResultAsync<
  T,
  CtrlExecError<'store_failed' | Code>
>;

/** A certificate that is not to be accepted any more. */
export interface Revocation {
  /** Canonical serial. */
  readonly serial: string;
  /** The agent or dispatcher that it was issued to, where that is known. */
  readonly name: string | undefined;
  /** Epoch milliseconds. */
  readonly revokedAt: number;
  /** When the certificate expires, epoch milliseconds. Undefined: not known; then the revocation is kept for good. */
  readonly notAfter?: number | undefined;
}

/** What one `revoke` of a person changes. */
export interface Revoking {
  readonly entries: readonly Revocation[];
  /** The keys of the certificates, as far as they are known. A key that is banned already keeps what it has. */
  readonly keys: readonly BannedKey[];
  /**
   * The agent that the certificates were issued to. Where it has no key left that is not banned, nobody asks it any more: its locks are released.
   * Default: none.
   */
  readonly agent?: string | undefined;
  /**
   * Whatever the agent has pinned at this moment is revoked and banned with them, and requests that wait and were approved for its name are
   * denied. Default false.
   */
  readonly everyPin?: boolean;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** What a `revoke` has changed. */
export interface RevokedNow {
  readonly revision: number;
  /** With `everyPin`: the pins of the agent, all of them revoked now. */
  readonly pins: readonly KeyPin[];
}

/**
 * What this dispatcher has revoked, and the keys that it has banned. `revision` counts the changes, from 0, and is the number of
 * the revocation lists that are made from them: nothing else needs to be kept of a list.
 *
 * Contract: each call is one transaction; serials that are there already keep what they have, and where all are, the
 * revision stays. Entries are sorted by serial. Ok survives a power cut. More than `maxRevoked` entries are `too_large`. With
 * the first new entry those go whose certificate expired, and which were revoked, more than `keptAfterExpiry` before it was revoked.
 */
export interface Revocations {
  /** Everything that was revoked, and the revision that this is. */
  current(): StoreResult<{ readonly revision: number; readonly entries: readonly Revocation[] }>;
  /** The number of the list that would be made now; 0: none was needed yet. */
  revision(): StoreResult<number>;
  /** Whether this serial was revoked. */
  has(serial: string): StoreResult<boolean>;
  /**
   * When the first of the revocations was made that came after this revision, epoch milliseconds. Undefined: there was none.
   * Whoever holds the list of this number knows nothing of them.
   */
  missingSince(revision: number): StoreResult<number | undefined>;
  /** Adds revocations; the revision moves by one where any is new. */
  add(entries: readonly Revocation[]): StoreResult<{ readonly revision: number }, 'too_large'>;
  /** The same; bans keys, denies requests and releases locks with it, as far as these are kept in the same store. Idempotent. */
  revoke(revoking: Revoking): StoreResult<RevokedNow, 'too_large'>;
  /**
   * Adds what is on a list of this dispatcher that an agent holds, of before a backup was restored. Where any entry is new, or
   * the number is above the revision, the revision is one above both afterwards.
   */
  merge(
    number: number,
    entries: readonly Revocation[],
  ): StoreResult<{ readonly revision: number; readonly added: number }, 'too_large'>;
  /** The keys that are banned, sorted by time, then by key. */
  bannedKeys(): StoreResult<readonly BannedKey[]>;
  /** The ban of this key; undefined: it is not banned. */
  banOf(spkiSha256: string): StoreResult<BannedKey | undefined>;
  /** Lifts the ban of a key; returns what it was, undefined where there was none. Its certificates stay revoked. */
  unban(spkiSha256: string): StoreResult<BannedKey | undefined>;
  /** Keeps a certificate that has no pin, so that it can be found when it is to be revoked. Idempotent. */
  remember(certificate: IssuedCertificate): StoreResult<void>;
  /** Certificates without a pin: those that were kept, and those of pins that are gone. Sorted by serial. */
  issued(
    of: { readonly serial: string } | { readonly name: string },
  ): StoreResult<readonly IssuedCertificate[]>;
}
