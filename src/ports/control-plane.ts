import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { ControlPlaneRequest } from '../domain/deploy/control-plane-api.js';

/**
 * The control plane said no. `why`: it has retired the agent, cannot do it now, does not permit it, or was sent too much; `other`: it
 * says why in its own words.
 */
export type ControlPlaneRefusal = CtrlExecError<'refused'> & {
  readonly why: 'retired' | 'busy' | 'forbidden' | 'too_much' | 'other';
};

/** Why a call did not succeed. */
export type ControlPlaneError =
  | ControlPlaneRefusal
  | CtrlExecError<
      | 'host_unresolved'
      | 'connection_refused'
      | 'connection_failed'
      | 'timed_out'
      | 'tls_failed'
      | 'protocol_violation'
      | 'too_large'
      | 'aborted'
    >;

/**
 * Calls to the control plane of a pull agent.
 *
 * Contract: nothing is asked again and no redirect is followed; an answer of another status than the one of success is `refused`. One
 * call takes at most 30 seconds and its answer at most 16 MiB. A JSON body is sent as such, and the agent's API key with every
 * call; no error tells it, but in the words of the control plane. After `close` every call is `aborted`, those under way too.
 */
export interface ControlPlane {
  /** Sends one request and gives the body of the answer that it succeeded. */
  send(request: ControlPlaneRequest, signal?: AbortSignal): ResultAsync<Uint8Array, ControlPlaneError>;
  /** Ends what is under way; safe to call again. */
  close(): Promise<void>;
}
