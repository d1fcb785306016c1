import { err, ok, okAsync, ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { maxLegacyBody } from '../../../domain/legacy/pairing.js';
import {
  maxPairingBody,
  pairingErrors,
  readPairingMessage,
  type StartMessage,
  sessionSeconds,
  writePairingMessage,
} from '../../../domain/pairing/messages.js';
import type { PairingRequest } from '../../../domain/pairing/request.js';
import { type HttpAnswer, jsonAnswer } from '../../../domain/protocol/http-message.js';
import type { IncomingRequest, ListenerAnswer } from '../../../ports/listener.js';
import { inTurn, once } from '../../core/parallel.js';
import { refusalLog } from '../../core/refusals.js';
import type { DispatcherContext } from '../context.js';
import { dropLapsed } from '../trust/revoked.js';
import { pairingAdmission } from './admission.js';
import { introduced, loadPairing, notRevoked } from './identity.js';
import { joinedBy } from './join-tokens.js';
import { legacyPairing } from './legacy.js';
import {
  type ConfirmOutcome,
  type PairingIdentity,
  type PairingSession,
  refusal,
  type SessionFailure,
  startSession,
} from './session.js';
import { pairingVigil } from './watcher.js';

/** Milliseconds from M1 to M3 (wire-protocol 2.2). */
const startedLifetime = 15_000;
const sessionLifetime = sessionSeconds * 1000;
/** Seconds between two polls of an agent. */
const retryAfter = 2;
const enrolmentLifetime = 86_400_000;

/** Where the pairing port is, and for whom. */
export interface PairingModeOptions {
  /** 0 lets the system choose. Default: `pairing_port`. */
  readonly port?: number;
  /** Address to listen on. Default: `pairing_bind`. */
  readonly bind?: string;
  /**
   * Serve legacy agents too, by version 1, whose code whoever is between the hosts can forge. Default:
   * `allow_legacy_pairing`.
   */
  readonly allowV1?: boolean;
  /** Called when a request has changed: its code is known, it was decided, its certificate was installed. */
  readonly onChange?: (request: PairingRequest) => void;
}

/**
 * The open pairing port. At the end of an `await using` block it closes; that the store failed then, which `close` gives as a
 * value, nobody would hear: it is thrown.
 */
export interface PairingMode extends AsyncDisposable {
  readonly port: number;
  readonly bind: string;
  /** Whether legacy agents are served, too. */
  readonly allowV1: boolean;
  /** Resolves when pairing mode has to end by itself: three wrong codes. The port refuses everybody from then on. */
  readonly ended: Promise<'wrong codes'>;
  /** Closes the port; requests that were not decided expire. */
  close(): ResultAsync<void, CtrlExecError<'store_failed'>>;
}

export type PairingModeFailure = CtrlExecError<
  | 'ca_missing'
  | 'certificate_invalid'
  | 'file_failed'
  | 'identity_missing'
  | 'listen_failed'
  | 'held'
  | 'store_failed'
>;

/** Opens the pairing port: the only time at which a stranger is listened to. */
export function openPairingMode(
  context: DispatcherContext,
  options: PairingModeOptions = {},
): ResultAsync<PairingMode, PairingModeFailure> {
  const { clock, events, listener, pairingQueue, settings } = context;
  const bind = options.bind ?? settings.pairingBind;
  const allowV1 = options.allowV1 ?? settings.allowLegacyPairing;
  return loadPairing(context)
    .mapErr((error): PairingModeFailure => error)
    .andThen((loaded) => alone(context).map((held) => ({ ...loaded, held })))
    .andThen((loaded) =>
      pairingQueue
        .expire()
        .andThen(() => pairingQueue.purge(clock.now() - enrolmentLifetime))
        .andThen(() => dropLapsed(context))
        .map(() => loaded)
        .orElse((error) => loaded.held.release().andThen(() => err(error))),
    )
    .andThen(({ tlsSpki, credentials, held }) => {
      let stop: (reason: 'wrong codes') => void = () => undefined;
      const ended = new Promise<'wrong codes'>((resolve) => {
        stop = resolve;
      });
      const onChange = options.onChange ?? (() => undefined);
      const sessions = pairingSessions(context, tlsSpki, allowV1, onChange, stop);
      const refused = refusalLog(clock, (ip, reason, more) =>
        events.emit({ action: 'pairing-refused', level: 'warning', fields: { ip, reason, more } }),
      );
      return listener
        .listen({
          bind,
          port: options.port ?? settings.pairingPort,
          credentials,
          maxBody: allowV1 ? maxLegacyBody : maxPairingBody,
          maxConnections: 64,
          maxUnknownPerAddress: 8,
          handle: sessions.handle,
          refused: (ip, reason) => {
            // A legacy agent looks whether the port is there before it makes its key: that is nobody's attempt.
            if (!(allowV1 && reason === 'CLOSED_AT_ONCE')) refused(ip, reason);
          },
          failed: (error) =>
            events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } }),
        })
        .map((listening) => {
          const { port } = listening;
          events.emit({
            action: 'pairing-mode',
            fields: { bind, port, version: allowV1 ? 'v1 and v2' : undefined },
          });
          const closePort = once(() =>
            ResultAsync.fromSafePromise(listening.close(1000)).map(() =>
              events.emit({ action: 'pairing-mode-closed', fields: { bind, port } }),
            ),
          );
          const close = () =>
            sessions
              .endLegacy()
              .andThen(closePort)
              .andThen(() => sessions.end())
              .andThen(() => held.release());
          const dispose = async () => {
            const closed = await close();
            if (closed.isErr()) throw new Error(closed.error.message, { cause: closed.error });
          };
          return { port, bind, allowV1, ended, close, [Symbol.asyncDispose]: dispose };
        })
        .orElse((error) => held.release().andThen(() => err(error)));
    });
}

/** One pairing mode at a time: what another one left behind, because it was killed, is nobody's any more. */
const alone = ({ clock, mutex }: DispatcherContext) =>
  mutex
    .acquire('pairing', clock.now())
    .mapErr((error) =>
      error.code === 'held' ? { ...error, message: `pairing mode is running already: ${error.by}` } : error,
    );

function pairingSessions(
  context: DispatcherContext,
  tlsSpki: Uint8Array,
  allowV1: boolean,
  onChange: (request: PairingRequest) => void,
  stop: (reason: 'wrong codes') => void,
) {
  const { clock, events, pairingQueue, settings } = context;
  const sessions = new Map<string, PairingSession>();
  const cancels = new Map<string, () => void>();
  const inOrder = inTurn();
  const admit = pairingAdmission(context);
  const vigil = pairingVigil(context, {
    onChange,
    stop,
    waiting: () => sessions.size > 0 || legacy.waiting(),
    look: () => legacy.look(),
  });
  const { changed, watch } = vigil;
  /** One after the other: requests at the same moment cannot pass the limits together. */
  const enter = <T>(address: string, work: () => ResultAsync<T, SessionFailure>) =>
    inOrder(() =>
      /* defence: version-1-waits-in-the-queue */ admit(address).andThen(vigil.noAttack).andThen(work),
    );
  const legacy = legacyPairing(context, { enter, vigil: () => vigil });

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

  const begin = (
    message: StartMessage,
    address: string,
  ): ResultAsync<{ session: PairingSession; shown: PairingIdentity }, SessionFailure> =>
    safeTry(async function* () {
      const join = yield* joinedBy(context, message);
      const csr = yield* context.certificateRequests
        .read(message.csr_pem)
        .mapErr((error) => refusal('invalid', error.message));
      yield* notRevoked(context, csr);
      // The port's own key is the one that it was opened with; whom the agent is to trust may have changed since.
      const { cas, dispatchers } = yield* introduced(context);
      const shown = { cas, dispatchers, tlsSpki };
      return startSession(context, shown, message, csr, address, sessionLifetime, join).map((session) => ({
        session,
        shown,
      }));
    });

  const start = (message: StartMessage, address: string): ResultAsync<HttpAnswer, SessionFailure> => {
    return safeTry(async function* () {
      const { session, shown } = yield* enter(address, () => begin(message, address));
      sessions.set(session.id, session);
      watch();
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
          ca_pem: shown.cas.map(({ pem }) => pem),
          dispatcher_pem: shown.dispatchers.map(({ pem }) => pem),
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
          session
            .nonce(message.nonce, message.mac)
            .map(({ nonce, mac }) => {
              expireAfter(session, session.expiresAt - clock.now());
              void changed(session.id);
              return answer(200, { v: 2, session: message.session, nonce, mac });
            })
            .mapErr((error) => {
              // The session may be destroyed: whoever has it on the screen is told.
              void changed(session.id);
              return error;
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

  const handle = async (request: IncomingRequest): Promise<ListenerAnswer> => {
    if (
      request.method === 'POST' &&
      request.path === '/pair' &&
      /* defence: version-1-is-switched-on */ allowV1
    )
      return legacy.handle(request);
    const route = request.method === 'POST' ? routes[request.path] : undefined;
    if (!route) return jsonAnswer(404, { status: 'error', error: 'not_found', reason: 'no such route' });
    // defence: pairing-port-needs-tls-1-3
    if (request.peer.tlsVersion !== 'TLSv1.3')
      return refused(request, refusal('invalid', 'TLS 1.3 is needed'));
    return request
      .body()
      .mapErr(
        (error): SessionFailure => (error.code === 'too_large' ? refusal('too_large', error.message) : error),
      )
      .andThen((body) =>
        body.length > maxPairingBody
          ? err(refusal('too_large', `the request's body is larger than ${maxPairingBody} bytes`))
          : ok(body),
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
    vigil.end();
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

  return { handle, end, endLegacy: legacy.end };
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
