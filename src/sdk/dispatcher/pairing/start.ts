import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { shortestAddress, sourceOf } from '../../../domain/core/ip-prefix.js';
import { type LegacyRequest, legacyPairingCode } from '../../../domain/legacy/pairing.js';
import type { LegacySession } from '../../../domain/legacy/pairing-session.js';
import { type StartedMessage, type StartMessage, sessionSeconds } from '../../../domain/pairing/messages.js';
import type { Admission, PairingPlace, PairingRequest } from '../../../domain/pairing/request.js';
import { type Refusal, refusal, type Session } from '../../../domain/pairing/session.js';
import { commitment, transcriptHash } from '../../../domain/pairing/transcript.js';
import type { HttpAnswer } from '../../../domain/protocol/http-message.js';
import type { CertificateRequest } from '../../../ports/certificate-requests.js';
import type { DispatcherContext } from '../context.js';
import { type pairingRate, placeLimits } from './admission.js';
import { introduced, notRevoked, type SessionFailure } from './identity.js';
import { joinedBy } from './join-tokens.js';
import type { PairingSessions } from './sessions.js';

/** Milliseconds from M1 to M3 (wire-protocol 2.2). */
const startedLifetime = 15_000;
const sessionLifetime = sessionSeconds * 1000;

/** What beginnings are judged by. */
export interface Entrance {
  readonly context: DispatcherContext;
  readonly sessions: PairingSessions;
  readonly rate: ReturnType<typeof pairingRate>;
  /** SubjectPublicKeyInfo of the port's certificate. */
  readonly tlsSpki: Uint8Array;
}

const tooMany = refusal('queue_full', 'too many requests from this address');

/** M1 of version 2, and the answer to it; in turn. */
export function startSession(
  entrance: Entrance,
  message: StartMessage,
  from: { readonly address: string /** It understands endorsements. */; readonly says: boolean },
): ResultAsync<StartedMessage, SessionFailure> {
  const { context, sessions, rate, tlsSpki } = entrance;
  const { crypto, random, clock, settings } = context;
  const { address } = from;
  return safeTry<StartedMessage, SessionFailure>(async function* () {
    const joined = await joinedBy(context, message);
    const token = joined.unwrapOr(undefined);
    if (!rate(address, token?.id)) return err(tooMany);
    yield* joined;
    const csr = yield* readCsr(context, message.csr_pem);
    const introduction = yield* introduced(context);
    const endorsement = from.says ? yield* context.authority.endorsement() : undefined;
    const idBytes = random.bytes(16);
    const now = clock.now();
    const { host, port, lookup_by: lookupBy } = message;
    const known = { id: hex(idBytes), host, ip: address, port, lookupBy } as const;
    const deadline = now + startedLifetime;
    yield* takePlace(entrance, {
      ...known,
      state: 'started',
      code: undefined,
      version: 'v2',
      decision: undefined,
      createdAt: now,
      expiresAt: deadline,
      place: {
        kind: /* defence: join-tokens-have-places-of-their-own */ token ? 'join' : 'compare',
        key: token?.id ?? sourceOf(address),
        until: deadline,
      },
    });
    const th = transcriptHash(crypto.sha256, {
      offer: message.offer,
      session: idBytes,
      host,
      csrDer: csr.der,
      tlsSpki,
      caDer: introduction.cas.map(({ der }) => der),
      dispatcherDer: introduction.dispatchers.map(({ der }) => der),
      joinId: message.join,
      endorsements: endorsement && [endorsement],
    });
    const dispatcherNonce = random.bytes(32);
    const commit = commitment(crypto.sha256, th, dispatcherNonce);
    const session: Session = {
      ...known,
      spki: csr.spki,
      csrDer: csr.der,
      version: 'v2',
      phase: 'started',
      deadline,
      expiresAt: now + sessionLifetime,
      introduction,
      th,
      commit,
      dispatcherNonce,
      ...(token && { token }),
    };
    void sessions.add(session);
    context.events.emit({ action: 'pairing-requested', fields: { request: known.id, host, ip: address } });
    return ok<StartedMessage>({
      v: 2,
      session: idBytes,
      commit,
      ca_pem: introduction.cas.map(({ pem }) => pem),
      dispatcher_pem: introduction.dispatchers.map(({ pem }) => pem),
      dispatcher_id: settings.dispatcherId,
      expires_in: sessionSeconds,
      ...(endorsement && { ca_endorsements: [endorsement] }),
    });
  });
}

/** The one request of version 1; in turn. `answered` is its second answer. */
export function startLegacySession(
  entrance: Entrance,
  asked: LegacyRequest,
  address: string,
): ResultAsync<{ readonly id: string; readonly answered: Promise<HttpAnswer> }, SessionFailure> {
  const { context, sessions, rate } = entrance;
  const { clock, crypto, events, random, settings } = context;
  return safeTry<{ id: string; answered: Promise<HttpAnswer> }, SessionFailure>(async function* () {
    if (!rate(address)) return err(tooMany);
    const csr = yield* readCsr(context, asked.csrPem);
    const { host, port, lookupBy, nonce } = asked;
    const id = hex(random.bytes(8));
    const createdAt = clock.now();
    const expiresAt = createdAt + sessionLifetime;
    const known = { id, host, ip: address, port, lookupBy, expiresAt } as const;
    const { statedIp } = asked;
    yield* /* defence: version-1-waits-in-the-queue */ takePlace(entrance, {
      ...known,
      ...(statedIp !== undefined && statedIp !== shortestAddress(address) && { statedIp }),
      state: 'open',
      code: legacyPairingCode(crypto.sha256, asked.csrPem),
      version: 'v1',
      decision: undefined,
      createdAt,
      place: { kind: 'compare', key: sourceOf(address), until: expiresAt },
    });
    const { dispatcherId } = settings;
    const session: LegacySession = {
      ...known,
      spki: csr.spki,
      csrDer: csr.der,
      version: 'v1',
      nonce,
      dispatcherId,
    };
    const answered = sessions.add(session);
    events.emit({ action: 'pairing-requested', fields: { request: id, host, ip: address, version: 'v1' } });
    await sessions.show(id);
    return ok({ id, answered });
  });
}

const readCsr = (context: DispatcherContext, pem: string): ResultAsync<CertificateRequest, SessionFailure> =>
  context.certificateRequests
    .read(pem)
    .mapErr((error): SessionFailure => refusal('invalid', error.message))
    .andThen((csr) => notRevoked(context, csr).map(() => csr));

/** Adds the request, if there is a place for it. */
function takePlace(
  { context, sessions }: Entrance,
  request: PairingRequest,
): ResultAsync<void, SessionFailure> {
  const { kind } = request.place;
  const limits = placeLimits(context, kind);
  return safeTry<void, SessionFailure>(async function* () {
    if (sessions.ended()) return err(refusal('queue_full', 'pairing mode has ended'));
    if (kind === 'compare' && (await sessions.isComparingClosed()))
      return err(refusal('queue_full', 'three wrong codes: nothing that people compare is taken any more'));
    const admission = yield* context.pairing.begin({ request, limits });
    return admission === 'admitted' ? ok(undefined) : err(noPlace(admission, kind, limits));
  });
}

const held = 'wait, or were given up less than ten minutes ago (list-requests --given-up)';

function noPlace(
  admission: Exclude<Admission, 'admitted'>,
  kind: PairingPlace['kind'],
  { total, perKey }: { readonly total: number; readonly perKey: number },
): Refusal {
  if (admission === 'full') return refusal('queue_full', `${total} requests ${held}`);
  const whose = kind === 'join' ? 'with this join token' : 'of this address';
  return refusal('queue_full', `${perKey} requests ${whose} ${held}`);
}
