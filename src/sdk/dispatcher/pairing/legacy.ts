import { err, ok, okAsync, ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import {
  approvalTimeout,
  evenSerial,
  type LegacyRefusal,
  type LegacyRequest,
  legacyPairingCode,
  readLegacyRequest,
} from '../../../domain/legacy/pairing.js';
import { sessionSeconds } from '../../../domain/pairing/messages.js';
import type { PairingDecision, PairingRequest } from '../../../domain/pairing/request.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import { newStanding } from '../../../domain/trust/agent-standing.js';
import type { CertificateRequest } from '../../../ports/certificate-requests.js';
import type { IncomingRequest, ListenerAnswer } from '../../../ports/listener.js';
import { inTurn } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { loadIdentity } from '../trust/identity.js';
import { validFor } from '../trust/validity.js';
import { notRevoked } from './identity.js';
import { refusal, type SessionFailure } from './session.js';
import type { PairingVigil } from './watcher.js';

const lifetime = sessionSeconds * 1000;

/** Every answer of a deployed dispatcher has this status, whatever it says. */
const said = (message: Readonly<Record<string, unknown>>): HttpAnswer => jsonAnswer(200, message);
const denial = (reason: string): HttpAnswer => said({ status: 'denied', reason });

/** An agent whose connection waits for its second answer. */
interface LegacySession {
  readonly id: string;
  readonly asked: LegacyRequest;
  readonly csr: CertificateRequest;
  readonly address: string;
  readonly inOrder: ReturnType<typeof inTurn>;
  /** The second answer; the session has ended with it. */
  readonly answered: Promise<HttpAnswer>;
  readonly answer: (last: HttpAnswer) => void;
  ended: boolean;
}

export interface LegacyEntrance {
  /** Begins a session unless a limit is reached; one after the other with those of version 2. */
  readonly enter: <T>(
    address: string,
    work: () => ResultAsync<T, SessionFailure>,
  ) => ResultAsync<T, SessionFailure>;
  readonly vigil: () => PairingVigil;
}

/**
 * Version 1 of pairing (wire-protocol 1.5) as the dispatcher serves it where the operator says so: one request, which is
 * answered twice. The code that people compare is over the CSR alone, and can be forged by whoever is between the hosts.
 */
export function legacyPairing(context: DispatcherContext, { enter, vigil }: LegacyEntrance) {
  const { authority, certificateRequests, clock, crypto, events, pairingQueue, random, registry } = context;
  const sessions = new Map<string, LegacySession>();
  const cancels = new Map<string, () => void>();
  let closed = false;

  /** The end of a session, once; its request is left in this state. */
  const end = (
    session: LegacySession,
    state: 'issued' | 'denied' | 'expired',
    last: HttpAnswer,
  ): ResultAsync<void, CtrlExecError> => {
    session.ended = true;
    sessions.delete(session.id);
    cancels.get(session.id)?.();
    cancels.delete(session.id);
    return pairingQueue
      .advance(session.id, state)
      .map(() => undefined)
      .mapErr((error): CtrlExecError => error)
      .andTee(() => session.answer(last))
      .orTee(() => session.answer(last))
      .andTee(() => void vigil().changed(session.id));
  };

  const begin = (asked: LegacyRequest, address: string): ResultAsync<LegacySession, SessionFailure> =>
    safeTry(async function* () {
      if (closed) return err(refusal('queue_full', 'pairing mode has ended'));
      const csr = yield* certificateRequests
        .read(asked.csrPem)
        .mapErr((error) => refusal('invalid', error.message));
      yield* notRevoked(context, csr);
      const id = hex(random.bytes(8));
      const now = clock.now();
      yield* pairingQueue.add({
        id,
        state: 'open',
        host: asked.host,
        ip: address,
        port: asked.port,
        lookupBy: asked.lookupBy,
        code: legacyPairingCode(crypto.sha256, asked.csrPem),
        version: 'v1',
        decision: undefined,
        createdAt: now,
        expiresAt: now + lifetime,
      });
      let answer: LegacySession['answer'] = () => undefined;
      const answered = new Promise<HttpAnswer>((resolve) => {
        answer = resolve;
      });
      const session = { id, asked, csr, address, inOrder: inTurn(), answered, answer, ended: false };
      sessions.set(id, session);
      cancels.set(
        id,
        clock.after(lifetime, () => look(session)),
      );
      vigil().watch();
      return ok(session);
    });

  /** What was decided, as far as it was. */
  const look = (session: LegacySession): void =>
    void session.inOrder(() => {
      if (session.ended) return okAsync<void, CtrlExecError>(undefined);
      return pairingQueue
        .find(session.id)
        .mapErr((error): CtrlExecError => error)
        .andThen((request) => {
          const { decision, state } = request ?? {};
          if (decision?.verdict === 'deny') return end(session, 'denied', denial(decision.reason));
          if (state === 'denied') return end(session, 'denied', denial('denied'));
          if (!request || state === 'expired') return end(session, 'expired', denial(approvalTimeout));
          if (decision) return issue(session, request, decision);
          return clock.now() < request.expiresAt
            ? okAsync(undefined)
            : end(session, 'expired', denial(approvalTimeout));
        });
    });

  const issue = (
    session: LegacySession,
    request: PairingRequest,
    decision: PairingDecision & { verdict: 'approve' },
  ): ResultAsync<void, CtrlExecError> =>
    certified(session, request, decision)
      .andThen(({ serial, last }) => {
        events.emit({
          action: 'pairing-issued',
          fields: { request: session.id, host: decision.name, serial, ip: session.address },
        });
        return end(session, 'issued', last);
      })
      .orElse((error) => {
        const theirs = error.code === 'agent_exists' || error.code === 'downgrade_refused';
        const reason = `${decision.name} was approved and gets no certificate: ${error.message}`;
        events.emit({
          action: 'pairing-refused',
          level: theirs ? 'warning' : 'error',
          fields: { ip: session.address, step: '/pair', reason },
        });
        return end(session, 'denied', denial(theirs ? error.message : 'the dispatcher failed: see its log'));
      });

  /** Issues and enrols: what the agent is told then. */
  const certified = (
    { asked, csr }: LegacySession,
    request: PairingRequest,
    decision: PairingDecision & { verdict: 'approve' },
  ): ResultAsync<{ serial: string; last: HttpAnswer }, CtrlExecError> =>
    safeTry(async function* () {
      const { name, replace, port = request.port, lookupBy = request.lookupBy } = decision;
      const issuedAt = clock.now();
      const identity = yield* loadIdentity(context);
      const validity = validFor(context, context.settings.certDays);
      const certificate = yield* authority.issue(
        { kind: 'agent', name, asClientToo: true },
        csr.spki,
        validity,
      );
      const { serial, notAfter } = certificate;
      yield* registry.enrol({
        name,
        endpoint: { host: request.host, ip: request.ip, port, lookupBy },
        pin: { spkiSha256: hex(crypto.sha256(csr.spki)), state: 'issued', serial, notAfter, issuedAt },
        pairing: 'v1',
        replace,
        standing: newStanding([identity.own.current], identity.caSet),
        at: clock.now(),
      });
      const last = said({
        status: 'approved',
        cert: certificate.pem,
        ca: identity.cas.join(''),
        nonce: asked.nonce,
        dispatcher_serial: evenSerial(identity.own.current),
        dispatcher_id: context.settings.dispatcherId,
      });
      return ok({ serial, last });
    });

  /** An agent that is gone gets no certificate, whatever is decided later. */
  const next =
    (session: LegacySession) =>
    (gone: AbortSignal): Promise<HttpAnswer> => {
      const onGone = () =>
        void session.inOrder(() =>
          session.ended ? okAsync<void, CtrlExecError>(undefined) : end(session, 'expired', denial('gone')),
        );
      gone.addEventListener('abort', onGone, { once: true });
      if (gone.aborted) onGone();
      return session.answered.finally(() => gone.removeEventListener('abort', onGone));
    };

  const refused = (request: IncomingRequest, reason: LegacyRefusal, why: string): ListenerAnswer => {
    events.emit({
      action: 'pairing-refused',
      level: reason === 'internal error' ? 'error' : 'warning',
      fields: { ip: request.peer.address, step: request.path, reason: `${reason}: ${why}` },
    });
    return said({ status: 'error', reason });
  };

  return {
    /** Answers `POST /pair`. */
    async handle(request: IncomingRequest): Promise<ListenerAnswer> {
      const { address } = request.peer;
      if (request.httpVersion !== '1.0')
        return refused(request, 'invalid request', 'it is not in HTTP/1.0, where it could be answered twice');
      const body = await request.body();
      if (body.isErr())
        return body.error.code === 'too_large'
          ? refused(request, 'request too large', body.error.message)
          : refused(request, 'invalid request', body.error.message);
      const asked = readLegacyRequest(body.value);
      if (asked.isErr()) return refused(request, asked.error.said, asked.error.reason);
      return enter(address, () => begin(asked.value, address)).match(
        (session): ListenerAnswer => {
          const { id } = session;
          events.emit({
            action: 'pairing-requested',
            fields: { request: id, host: asked.value.host, ip: address, version: 'v1' },
          });
          void vigil().changed(id);
          return { ...said({ status: 'pending', reqid: id }), next: next(session) };
        },
        (error) => {
          if (!('detail' in error)) return refused(request, 'internal error', error.message);
          return refused(
            request,
            error.code === 'queue_full' ? 'pairing queue full' : 'invalid request',
            error.detail,
          );
        },
      );
    },

    waiting: () => sessions.size > 0,
    /** Looks what was decided on those that wait. */
    look: () => {
      for (const session of sessions.values()) look(session);
    },
    /** Lets nobody in from now on, and sends those away that wait. */
    end: (): ResultAsync<void, never> => {
      closed = true;
      const ending = [...sessions.values()].map((session) =>
        session.inOrder(() =>
          session.ended
            ? okAsync<void, CtrlExecError>(undefined)
            : end(session, 'expired', denial('pairing mode was closed')),
        ),
      );
      return ResultAsync.fromSafePromise(Promise.all(ending).then(() => undefined));
    },
  };
}
