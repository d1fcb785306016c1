import { err, errAsync, ok, okAsync, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { fromHex, hex } from '../../../domain/core/bytes.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { JoinTokenRecord } from '../../../domain/pairing/join-token.js';
import type { PairingErrorCode, StartMessage } from '../../../domain/pairing/messages.js';
import type { PairingDecision, PairingRequest } from '../../../domain/pairing/request.js';
import {
  commitment,
  confirmMessage,
  installedMessage,
  joinAgentMessage,
  joinDispatcherMessage,
  pairingCode,
  transcriptHash,
} from '../../../domain/pairing/transcript.js';
import { newStanding } from '../../../domain/trust/agent-standing.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { caSetDigest } from '../../../domain/trust/lifecycle.js';
import type { CertificateRequest } from '../../../ports/certificate-requests.js';
import { inTurn } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { validFor } from '../trust/validity.js';

/** Why the pairing port refuses a message; `detail` is for the log only. */
export interface Refusal {
  readonly code: PairingErrorCode;
  readonly detail: string;
}

export const refusal = (code: PairingErrorCode, detail: string): Refusal => ({ code, detail });

/** A failure of this side: the agent learns nothing of it, the log does. */
export type SessionFailure = Refusal | CtrlExecError;

/** What the dispatcher shows to every agent that pairs. */
export interface PairingIdentity {
  readonly cas: readonly Certificate[];
  readonly dispatchers: readonly Certificate[];
  /** SubjectPublicKeyInfo of the pairing port's certificate. */
  readonly tlsSpki: Uint8Array;
}

export type ConfirmOutcome =
  | { readonly kind: 'pending' }
  | { readonly kind: 'denied'; readonly reason: string }
  | { readonly kind: 'approved'; readonly name: string; readonly certificate: Certificate };

/** M4: the dispatcher's nonce, and with a join token the proof that it knows it, too. */
interface NonceAnswer {
  readonly nonce: Uint8Array;
  readonly mac: Uint8Array | undefined;
}

/** One agent's ceremony, in the memory of pairing mode; other terminals see what the queue holds of it. */
export interface PairingSession {
  readonly id: string;
  readonly idBytes: Uint8Array;
  readonly address: string;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  readonly commit: Uint8Array;
  /** M3: reveals the dispatcher's nonce in exchange for the agent's, once; with a join token only to its holder. */
  nonce(agentNonce: Uint8Array, mac: Uint8Array | undefined): ResultAsync<NonceAnswer, SessionFailure>;
  /** M5: the agent's people have confirmed; what the operator decided so far. */
  confirm(signature: Uint8Array): ResultAsync<ConfirmOutcome, SessionFailure>;
  /** M6: the certificate is installed. */
  installed(signature: Uint8Array): ResultAsync<void, SessionFailure>;
  /** `issued`: the certificate was handed out; it may be fetched and confirmed again. */
  readonly state: () => 'started' | 'open' | 'issued' | 'ended';
  /** No further message is answered. */
  end(): void;
}

/** The token that a session was begun with, and whether the name may get this further key. */
export interface JoinedBy {
  readonly token: JoinTokenRecord;
  readonly replace: boolean;
}

/** Starts a session (M1) and records it in the queue. */
export function startSession(
  context: DispatcherContext,
  identity: PairingIdentity,
  message: StartMessage,
  csr: CertificateRequest,
  address: string,
  lifetime: number,
  join: JoinedBy | undefined,
): ResultAsync<PairingSession, SessionFailure> {
  const { clock, crypto, random, pairingQueue, registry, authority, joinTokens } = context;
  const sha256 = crypto.sha256;
  const idBytes = random.bytes(16);
  const id = hex(idBytes);
  const dispatcherNonce = random.bytes(32);
  const th = transcriptHash(sha256, {
    offer: message.offer,
    session: idBytes,
    host: message.host,
    csrDer: csr.der,
    tlsSpki: identity.tlsSpki,
    caDer: identity.cas.map(({ der }) => der),
    dispatcherDer: identity.dispatchers.map(({ der }) => der),
    joinId: message.join,
  });
  const inOrder = inTurn();
  let state: 'started' | 'open' | 'issued' | 'ended' = 'started';
  let agentNonce: Uint8Array | undefined;
  let issued: { name: string; certificate: Certificate } | undefined;

  const commit = commitment(sha256, th, dispatcherNonce);
  const joinKey = join && fromHex(join.token.key);

  const destroy = (refused: Refusal): ResultAsync<NonceAnswer, SessionFailure> => {
    state = 'ended';
    return pairingQueue
      .advance(id, 'denied')
      .mapErr((error): SessionFailure => error)
      .andThen(() => err(refused));
  };

  /** Whoever proves to hold the token is approved by it, and the token is for this CSR from now on. */
  const approveByToken = (
    given: Uint8Array,
    mac: Uint8Array | undefined,
  ): ResultAsync<void, SessionFailure> => {
    if (!join || !joinKey)
      return mac ? errAsync(refusal('invalid', 'a join proof without a token')) : okAsync(undefined);
    const expected = crypto.hmacSha256(joinKey, joinAgentMessage(th, commit, given));
    // defence: agent-proves-join-token
    if (!mac || !crypto.equal(mac, expected))
      return errAsync(refusal('join_refused', 'the proof does not fit the token'));
    return joinTokens
      .bind(join.token.id, hex(sha256(csr.der)))
      .mapErr((error): SessionFailure => error)
      .andThen((bound) => {
        if (/* defence: join-token-is-for-one-key */ bound) return ok(undefined);
        context.events.emit({
          action: 'join-token-misused',
          level: 'error',
          fields: { token: join.token.id, host: join.token.name, ip: address },
        });
        return err(refusal('join_refused', 'the token is bound to another request'));
      });
  };

  const answerNonce = (given: Uint8Array): NonceAnswer => ({
    nonce: dispatcherNonce,
    mac: joinKey && crypto.hmacSha256(joinKey, joinDispatcherMessage(th, given, dispatcherNonce)),
  });

  const nonce = (
    given: Uint8Array,
    mac: Uint8Array | undefined,
  ): ResultAsync<NonceAnswer, SessionFailure> => {
    if (state === 'ended') return errAsync(refusal('expired', 'the session has ended'));
    // defence: session-takes-one-nonce
    if (agentNonce)
      return crypto.equal(agentNonce, given)
        ? okAsync(answerNonce(given))
        : issued
          ? errAsync(refusal('invalid', 'a second nonce, after the certificate was issued'))
          : destroy(
              refusal(
                'invalid',
                'a second nonce: the session was destroyed. An agent sends one whose user did not confirm the code',
              ),
            );
    return approveByToken(given, mac)
      .andThen(() =>
        pairingQueue.advance(id, 'open', { code: pairingCode(sha256, th, given, dispatcherNonce) }),
      )
      .andThen(() =>
        join
          ? pairingQueue
              .decide(id, { verdict: 'approve', name: join.token.name, replace: join.replace }, clock.now())
              .map(() => undefined)
          : okAsync(undefined),
      )
      .mapErr((error): SessionFailure => error)
      .map(() => {
        agentNonce = given;
        state = 'open';
        return answerNonce(given);
      })
      .orElse((error) => ('detail' in error ? destroy(error) : errAsync(error)));
  };

  const verified = (signature: Uint8Array, data: Uint8Array): Result<void, SessionFailure> =>
    /* defence: confirmation-is-of-this-session */ crypto.verify(csr.spki, data, signature)
      ? ok(undefined)
      : err(refusal('invalid', 'the signature does not verify with the key of the CSR'));

  const confirm = (signature: Uint8Array): ResultAsync<ConfirmOutcome, SessionFailure> => {
    if (!agentNonce) return errAsync(refusal('invalid', 'confirmation before the nonce'));
    return verified(signature, confirmMessage(th, agentNonce, dispatcherNonce))
      .asyncAndThen(() => pairingQueue.find(id))
      .mapErr((error): SessionFailure => error)
      .andThen((request): ResultAsync<ConfirmOutcome, SessionFailure> => {
        if (issued) return okAsync({ kind: 'approved', ...issued });
        if (!request || request.state === 'expired' || clock.now() >= request.expiresAt)
          return errAsync(refusal('expired', 'the session has expired'));
        const { decision } = request;
        if (decision?.verdict === 'deny') return denied(decision.reason);
        if (request.state === 'denied') return denied('denied');
        return decision ? issue(request, decision) : okAsync({ kind: 'pending' });
      });
  };

  const denied = (reason: string): ResultAsync<ConfirmOutcome, SessionFailure> => {
    state = 'ended';
    return pairingQueue.advance(id, 'denied').map((): ConfirmOutcome => ({ kind: 'denied', reason }));
  };

  /** Once the row is written the certificate is this session's, whatever else fails: a repeated poll gets the same. */
  const issue = (
    request: PairingRequest,
    decision: PairingDecision & { verdict: 'approve' },
  ): ResultAsync<ConfirmOutcome, SessionFailure> =>
    safeTry(async function* () {
      const { name, replace, port = request.port, lookupBy = request.lookupBy } = decision;
      const issuedAt = clock.now();
      const validity = validFor(context, context.settings.certDays);
      const certificate = yield* authority.issue(
        { kind: 'agent', /* defence: pairing-names-as-approved */ name },
        csr.spki,
        validity,
      );
      const enrolled = await registry.enrol({
        name,
        endpoint: { host: request.host, ip: request.ip, port, lookupBy },
        pin: {
          spkiSha256: hex(sha256(csr.spki)),
          state: 'issued',
          serial: certificate.serial,
          notAfter: certificate.notAfter,
          issuedAt,
        },
        pairing: 'v2',
        replace,
        standing: newStanding(
          identity.dispatchers.map(({ serial }) => serial),
          caSetDigest(identity.cas.map(({ der }) => hex(sha256(der)))),
          'signed',
        ),
        at: clock.now(),
      });
      if (enrolled.isErr()) {
        if (enrolled.error.code === 'store_failed') return err(enrolled.error);
        state = 'ended';
        yield* pairingQueue.advance(id, 'denied');
        return err(refusal('name_registered', enrolled.error.message));
      }
      issued = { name, certificate };
      state = 'issued';
      const { serial } = certificate;
      context.events.emit({
        action: 'pairing-issued',
        fields: { request: id, host: name, serial, ip: address },
      });
      yield* pairingQueue.advance(id, 'issued');
      return ok<ConfirmOutcome>({ kind: 'approved', name, certificate });
    });

  const installed = (signature: Uint8Array): ResultAsync<void, SessionFailure> => {
    if (!issued) return errAsync(refusal('invalid', 'nothing was issued in this session'));
    const { name, certificate } = issued;
    return verified(signature, installedMessage(sha256, th, certificate.der))
      .asyncAndThen(() => registry.activate(name, hex(sha256(csr.spki))))
      .andThen(() => joinTokens.burnBound(name, clock.now()))
      .mapErr((error): SessionFailure => error)
      .andThen(() => pairingQueue.advance(id, 'active'))
      .map(() => {
        context.events.emit({ action: 'agent-paired', fields: { request: id, host: name, ip: address } });
      });
  };

  const now = clock.now();
  return pairingQueue
    .add({
      id,
      state: 'started',
      host: message.host,
      ip: address,
      port: message.port,
      lookupBy: message.lookup_by,
      code: undefined,
      version: 'v2',
      decision: undefined,
      createdAt: now,
      expiresAt: now + lifetime,
    })
    .map(() => ({
      id,
      idBytes,
      address,
      expiresAt: now + lifetime,
      commit,
      nonce: (given, mac) => inOrder(() => nonce(given, mac)),
      confirm: (signature) => inOrder(() => confirm(signature)),
      installed: (signature) => inOrder(() => installed(signature)),
      state: () => state,
      end: () => {
        state = 'ended';
      },
    }));
}
