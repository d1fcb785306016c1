import { err, errAsync, ok, okAsync, type Result, ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../domain/bytes.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/http-message.js';
import {
  maxPairingBody,
  pairingErrors,
  readPairingMessage,
  type StartMessage,
  sessionSeconds,
  writePairingMessage,
} from '../../domain/pairing-messages.js';
import type { PairingRequest } from '../../domain/pairing-request.js';
import { countOne, isSpent, type RateCount } from '../../domain/rate-limit.js';
import type { IncomingRequest, Listening } from '../../ports/listener.js';
import { type DispatcherContext, identityMissing, loadIdentity } from './context.js';
import {
  type ConfirmOutcome,
  type PairingIdentity,
  type PairingSession,
  type Refusal,
  refusal,
  type SessionFailure,
  startSession,
} from './pairing-session.js';

/** Milliseconds from M1 to M3 (wire-protocol 2.2). */
const startedLifetime = 15_000;
const sessionLifetime = sessionSeconds * 1000;
const sessionsPerAddress = 2;
/** Seconds between two polls of an agent. */
const retryAfter = 2;
/** Sources whose rate is remembered; above it the spent ones are forgotten, then nobody new is let in. */
const maxSources = 10_000;
const enrolmentLifetime = 86_400_000;

export interface PairingModeOptions {
  /** 0 lets the system choose. Default: `pairing_port`. */
  readonly port?: number;
  /** Address to listen on. Default: `pairing_bind`. */
  readonly bind?: string;
  /** Called when a request has changed: its code is known, it was decided, its certificate was installed. */
  readonly onChange?: (request: PairingRequest) => void;
}

/** The open pairing port. */
export interface PairingMode {
  readonly port: number;
  readonly bind: string;
  /** Closes the port; requests that were not decided expire. */
  close(): ResultAsync<void, CtrlExecError<'store_failed'>>;
}

export type PairingModeFailure = CtrlExecError<
  'ca_missing' | 'certificate_invalid' | 'file_failed' | 'identity_missing' | 'listen_failed' | 'store_failed'
>;

/** Opens the pairing port: the only time at which a stranger is listened to. */
export function openPairingMode(
  context: DispatcherContext,
  options: PairingModeOptions = {},
): ResultAsync<PairingMode, PairingModeFailure> {
  const { clock, events, listener, pairingQueue, registry, settings } = context;
  const bind = options.bind ?? settings.pairingBind;
  return loadPairing(context)
    .andThen((loaded) => pairingQueue.expire(clock.now()).map(() => loaded))
    .andThen((loaded) => pairingQueue.purge(clock.now() - enrolmentLifetime).map(() => loaded))
    .andThen((loaded) => registry.dropStaleEnrolments(clock.now() - enrolmentLifetime).map(() => loaded))
    .mapErr((error): PairingModeFailure => error)
    .andThen(({ identity, credentials }) => {
      const sessions = pairingSessions(context, identity, options.onChange ?? (() => undefined));
      return listener
        .listen({
          bind,
          port: options.port ?? settings.pairingPort,
          credentials,
          maxBody: maxPairingBody,
          maxConnections: 64,
          handle: sessions.handle,
          refused: (ip, reason) =>
            events.emit({ action: 'pairing-refused', level: 'warning', fields: { ip, reason } }),
          failed: (error) =>
            events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } }),
        })
        .map((listening) => {
          events.emit({ action: 'pairing-mode', fields: { bind, port: listening.port } });
          return { port: listening.port, bind, close: () => close(sessions, listening) };
        });
    });
}

function close(
  sessions: ReturnType<typeof pairingSessions>,
  listening: Listening,
): ResultAsync<void, CtrlExecError<'store_failed'>> {
  return ResultAsync.fromSafePromise(listening.close(1000)).andThen(() => sessions.end());
}

function loadPairing(context: DispatcherContext) {
  const { keyStore, crypto, authority } = context;
  return loadIdentity(context)
    .andThen((dispatcher) =>
      keyStore.read(['pairing-key', 'pairing-certificate']).map((documents) => ({ dispatcher, documents })),
    )
    .andThen(({ dispatcher, documents }) => {
      const key = documents['pairing-key'];
      const certificate = documents['pairing-certificate'];
      if (key === undefined || certificate === undefined) return err(identityMissing());
      return crypto
        .readCertificate(certificate)
        .map((pairing) => ({ dispatcher, pairing, credentials: { key, certificate } }));
    })
    .andThen(({ dispatcher, pairing, credentials }) =>
      authority.certificates().map((cas) => ({
        credentials,
        identity: {
          cas,
          dispatchers: [dispatcher.certificate],
          tlsSpki: pairing.spki,
        } satisfies PairingIdentity,
      })),
    );
}

function pairingSessions(
  context: DispatcherContext,
  identity: PairingIdentity,
  onChange: (request: PairingRequest) => void,
) {
  const { clock, events, pairingQueue, settings } = context;
  const sessions = new Map<string, PairingSession>();
  const sources = new Map<string, RateCount>();
  const cancels = new Map<string, () => void>();
  /** M1s under way, so that parallel ones cannot pass the limits together. */
  let starting = 0;

  const changed = async (id: string) => {
    const found = await pairingQueue.find(id);
    if (found.isOk() && found.value) onChange(found.value);
  };

  /** A started session lives 15 s, an open one as long as was promised; a certificate can be fetched until then. */
  const expireAfter = (session: PairingSession, delay: number) => {
    cancels.get(session.id)?.();
    const cancel = clock.after(delay, () => {
      session.end();
      sessions.delete(session.id);
      cancels.delete(session.id);
      void pairingQueue
        .find(session.id)
        .andThen((request) =>
          request && (request.state === 'started' || request.state === 'open')
            ? pairingQueue.advance(session.id, 'expired').map(() => undefined)
            : okAsync(undefined),
        )
        .then(() => changed(session.id));
    });
    cancels.set(session.id, cancel);
  };

  const withinRate = (address: string): boolean => {
    const limit = settings.pairingRateLimitVolume;
    const now = clock.now();
    if (sources.size >= maxSources)
      for (const [source, count] of sources) if (isSpent(count, limit, now)) sources.delete(source);
    if (sources.size >= maxSources && !sources.has(address)) return false;
    const { after, allowed } = countOne(sources.get(address), limit, now);
    sources.set(address, after);
    return allowed;
  };

  const admit = (address: string): Result<void, Refusal> => {
    if (!withinRate(address)) return err(refusal('queue_full', 'too many requests from this address'));
    const living = [...sessions.values()].filter((session) => ['started', 'open'].includes(session.state()));
    if (living.length + starting >= settings.pairingMaxQueue)
      return err(refusal('queue_full', `${settings.pairingMaxQueue} requests are waiting`));
    if (living.filter((session) => session.address === address).length >= sessionsPerAddress)
      return err(refusal('queue_full', `${sessionsPerAddress} requests of this address are waiting`));
    return ok(undefined);
  };

  const start = (message: StartMessage, address: string): ResultAsync<HttpAnswer, SessionFailure> => {
    if (message.join) return errAsync(refusal('join_refused', 'join tokens are not served'));
    return safeTry(async function* () {
      yield* admit(address);
      starting += 1;
      const started = await context.certificateRequests
        .read(message.csr_pem)
        .mapErr((error): SessionFailure => refusal('invalid', error.message))
        .andThen((csr) => startSession(context, identity, message, csr, address, sessionLifetime));
      starting -= 1;
      const session = yield* started;
      sessions.set(session.id, session);
      expireAfter(session, startedLifetime);
      events.emit({
        action: 'pairing-requested',
        fields: { request: session.id, host: message.host, ip: address },
      });
      return ok(
        answer(201, {
          v: 2,
          session: session.idBytes,
          commit: session.commit,
          ca_pem: identity.cas.map(({ pem }) => pem),
          dispatcher_pem: identity.dispatchers.map(({ pem }) => pem),
          dispatcher_id: settings.dispatcherId,
          expires_in: sessionSeconds,
        }),
      );
    });
  };

  const find = (id: Uint8Array): ResultAsync<PairingSession, SessionFailure> => {
    const session = sessions.get(hex(id));
    if (session) return okAsync(session);
    return pairingQueue
      .find(hex(id))
      .mapErr((error): SessionFailure => error)
      .andThen((request) =>
        err(
          request
            ? refusal('expired', 'the session has ended')
            : refusal('unknown_session', 'no such session'),
        ),
      );
  };

  const routes: Record<
    string,
    (body: Uint8Array, address: string) => ResultAsync<HttpAnswer, SessionFailure>
  > = {
    '/pair/v2/start': (body, address) =>
      parsed('start', body).asyncAndThen((message) => start(message, address)),
    '/pair/v2/nonce': (body) =>
      parsed('nonce', body).asyncAndThen((message) =>
        find(message.session).andThen((session) =>
          session.nonce(message.nonce).map((nonce) => {
            expireAfter(session, sessionLifetime);
            void changed(session.id);
            return answer(200, { v: 2, session: message.session, nonce });
          }),
        ),
      ),
    '/pair/v2/confirm': (body) =>
      parsed('signed', body).asyncAndThen((message) =>
        find(message.session).andThen((session) =>
          session.confirm(message.sig).map((outcome) => {
            if (outcome.kind !== 'pending') void changed(session.id);
            return confirmAnswer(outcome);
          }),
        ),
      ),
    '/pair/v2/installed': (body) =>
      parsed('signed', body).asyncAndThen((message) =>
        find(message.session).andThen((session) =>
          session.installed(message.sig).map(() => {
            void changed(session.id);
            return answer(200, { status: 'ok' });
          }),
        ),
      ),
  };

  const handle = async (request: IncomingRequest): Promise<HttpAnswer> => {
    const route = request.method === 'POST' ? routes[request.path] : undefined;
    if (!route) return jsonAnswer(404, { status: 'error', error: 'not_found', reason: 'no such route' });
    if (request.peer.tlsVersion !== 'TLSv1.3')
      return refused(request, refusal('invalid', 'TLS 1.3 is needed'));
    return request
      .body()
      .mapErr(
        (error): SessionFailure => (error.code === 'too_large' ? refusal('too_large', error.message) : error),
      )
      .andThen((body) => route(body, request.peer.address))
      .match(
        (given) => given,
        (error) => refused(request, error),
      );
  };

  const refused = (request: IncomingRequest, error: SessionFailure): HttpAnswer => {
    const known = 'detail' in error;
    const reason = known ? `${error.code}: ${error.detail}` : error.message;
    const fields = { ip: request.peer.address, step: request.path, reason };
    events.emit({ action: 'pairing-refused', level: known ? 'warning' : 'error', fields });
    if (known && error.code === 'expired') return answer(410, { status: 'expired' });
    return known
      ? answer(pairingErrors[error.code], { status: 'error', error: error.code })
      : answer(500, { status: 'error', error: 'internal' });
  };

  const end = () => {
    for (const cancel of cancels.values()) cancel();
    for (const session of sessions.values()) session.end();
    const waiting = [...sessions.keys()];
    sessions.clear();
    return ResultAsync.combine(
      waiting.map((id) =>
        pairingQueue
          .find(id)
          .andThen((request) =>
            request?.state === 'started' || request?.state === 'open'
              ? pairingQueue.advance(id, 'expired').map(() => undefined)
              : okAsync(undefined),
          ),
      ),
    )
      .map(() => undefined)
      .mapErr((error) =>
        error.code === 'store_failed'
          ? error
          : failure('store_failed', error.message, { operation: 'expire', reason: error.code }),
      );
  };

  return { handle, end };
}

const parsed = <K extends 'start' | 'nonce' | 'signed'>(kind: K, body: Uint8Array) =>
  readPairingMessage(kind, body).mapErr((reason) => refusal('invalid', reason));

const answer = (status: number, message: Readonly<Record<string, unknown>>): HttpAnswer => ({
  ...jsonAnswer(status, {}),
  body: new TextEncoder().encode(writePairingMessage(message)),
});

function confirmAnswer(outcome: ConfirmOutcome): HttpAnswer {
  switch (outcome.kind) {
    case 'pending':
      return answer(202, { status: 'pending', retry_after: retryAfter });
    case 'denied':
      return answer(403, { status: 'denied', reason: outcome.reason });
    case 'approved':
      return answer(200, { status: 'approved', name: outcome.name, cert_pem: outcome.certificate.pem });
  }
}
