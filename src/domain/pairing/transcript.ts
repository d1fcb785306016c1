import { lengthPrefixed, utf8 } from '../core/bytes.js';

/**
 * What both sides of a version 2 pairing hash, sign and show (wire-protocol 2.2). Whoever is between them must fix its
 * values before it sees the honest ones, because the dispatcher commits to its nonce before the agent reveals its own.
 */
export interface Transcript {
  /** Versions that the agent offered, ascending: `[2]` or `[1, 2]`. */
  readonly offer: readonly number[];
  /** 16 bytes. */
  readonly session: Uint8Array;
  readonly host: string;
  readonly csrDer: Uint8Array;
  /** SubjectPublicKeyInfo of the TLS server, DER: as seen by the agent, as known by the dispatcher. */
  readonly tlsSpki: Uint8Array;
  readonly caDer: readonly Uint8Array[];
  readonly dispatcherDer: readonly Uint8Array[];
  /** 8 bytes, where a join token is used. */
  readonly joinId?: Uint8Array | undefined;
  /** The endorsements of CAs that M2 carried, as they were sent; undefined: it carried none. */
  readonly endorsements?: readonly Uint8Array[] | undefined;
}

/** SHA-256, as given by the crypto port. */
export type Sha256 = (data: Uint8Array) => Uint8Array;

/** `th`: the transcript hash. */
export function transcriptHash(sha256: Sha256, transcript: Transcript): Uint8Array {
  return sha256(
    lengthPrefixed(
      'ctrl-exec pair v2 transcript',
      // defence: pairing-hashes-offer
      transcript.offer.join(','),
      transcript.session,
      transcript.host,
      transcript.csrDer,
      // defence: pairing-hashes-tls-key
      sha256(transcript.tlsSpki),
      // defence: pairing-hashes-certificates
      ...[transcript.caDer, transcript.dispatcherDer].map((ders) => sha256(lengthPrefixed(...ders))),
      transcript.joinId ?? new Uint8Array(),
      ...(transcript.endorsements
        ? [sha256(lengthPrefixed('ctrl-exec pair v2 endorsements', ...transcript.endorsements))]
        : []),
    ),
  );
}

/** The dispatcher's commitment to its nonce, sent before it knows the agent's. */
export const commitment = (sha256: Sha256, th: Uint8Array, dispatcherNonce: Uint8Array): Uint8Array =>
  sha256(lengthPrefixed('ctrl-exec pair v2 commit', th, dispatcherNonce));

/** The six digits that people compare. */
export function pairingCode(
  sha256: Sha256,
  th: Uint8Array,
  agentNonce: Uint8Array,
  dispatcherNonce: Uint8Array,
): string {
  const sas = sha256(lengthPrefixed('ctrl-exec pair v2 sas', th, agentNonce, dispatcherNonce));
  const number = new DataView(sas.buffer, sas.byteOffset).getBigUint64(0);
  return String(number % 1_000_000n).padStart(6, '0');
}

/** What the CSR's key signs in M5. */
export const confirmMessage = (
  th: Uint8Array,
  agentNonce: Uint8Array,
  dispatcherNonce: Uint8Array,
): Uint8Array => lengthPrefixed('ctrl-exec pair v2 confirm', th, agentNonce, dispatcherNonce);

/** What the CSR's key signs in M6. */
export const installedMessage = (sha256: Sha256, th: Uint8Array, certificateDer: Uint8Array): Uint8Array =>
  lengthPrefixed('ctrl-exec pair v2 installed', th, sha256(certificateDer));

/** HKDF-SHA256 info of the key that a join token gives; its salt is the token's id. */
export const joinKeyInfo: Uint8Array = utf8('ctrl-exec join v2');

/** What the agent's join MAC covers (M3). */
export const joinAgentMessage = (th: Uint8Array, commit: Uint8Array, agentNonce: Uint8Array): Uint8Array =>
  lengthPrefixed('ctrl-exec join v2 agent', th, commit, agentNonce);

/** What the dispatcher's join MAC covers (M4). */
export const joinDispatcherMessage = (
  th: Uint8Array,
  agentNonce: Uint8Array,
  dispatcherNonce: Uint8Array,
): Uint8Array => lengthPrefixed('ctrl-exec join v2 dispatcher', th, agentNonce, dispatcherNonce);
