import { err, ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { maxLegacyBody } from '../../../domain/legacy/pairing.js';
import { maxPairingBody } from '../../../domain/pairing/messages.js';
import type { PairingRequest } from '../../../domain/pairing/request.js';
import { once } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { dropLapsed } from '../trust/revoked.js';
import { pairingRate } from './admission.js';
import { loadPairing } from './identity.js';
import { pairingPort, pairingRefusals } from './port.js';
import { pairingSessions } from './sessions.js';

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
  /** Called when a request has changed: its code is known, it was decided or given up, its certificate was installed. */
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
  /** Resolves after three wrong codes: nothing that people compare is taken from then on. Join tokens go on. */
  readonly comparingClosed: Promise<'wrong codes'>;
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
  const { clock, events, listener, pairing, settings } = context;
  const bind = options.bind ?? settings.pairingBind;
  const allowV1 = options.allowV1 ?? settings.allowLegacyPairing;
  return loadPairing(context)
    .mapErr((error): PairingModeFailure => error)
    .andThen((loaded) => alone(context).map((held) => ({ ...loaded, held })))
    .andThen((loaded) =>
      pairing
        .end({ state: 'expired' })
        .andThen(() => dropLapsed(context))
        .andThen(() => pairing.purge(clock.now()))
        .map(() => loaded)
        .orElse((error) => loaded.held.release().andThen(() => err(error))),
    )
    .andThen(({ tlsSpki, credentials, held }) => {
      let onWrongCodes: (reason: 'wrong codes') => void = () => undefined;
      const comparingClosed = new Promise<'wrong codes'>((resolve) => {
        onWrongCodes = resolve;
      });
      const sessions = pairingSessions(context, {
        onChange: options.onChange ?? (() => undefined),
        onWrongCodes: () => onWrongCodes('wrong codes'),
      });
      const refusals = pairingRefusals(context);
      const entrance = { context, sessions, rate: pairingRate(context), tlsSpki };
      return listener
        .listen({
          bind,
          port: options.port ?? settings.pairingPort,
          credentials,
          maxBody: allowV1 ? maxLegacyBody : maxPairingBody,
          maxConnections: 64,
          maxUnknownPerAddress: 8,
          handle: pairingPort(entrance, refusals, allowV1),
          refused: (ip, reason) => {
            // A legacy agent looks whether the port is there before it makes its key: that is nobody's attempt.
            if (!(allowV1 && reason === 'CLOSED_AT_ONCE')) refusals.refused(ip, { reason });
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
          // What waits is told before its connection is closed. Once: later on requests are those of another pairing mode.
          const close = once(() =>
            ResultAsync.fromSafePromise(sessions.end()).andThen((ended) =>
              closePort()
                .andThen(() => ended)
                .andThen(() => held.release()),
            ),
          );
          const dispose = async () => {
            const closed = await close();
            if (closed.isErr()) throw new Error(closed.error.message, { cause: closed.error });
          };
          return { port, bind, allowV1, comparingClosed, close, [Symbol.asyncDispose]: dispose };
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
