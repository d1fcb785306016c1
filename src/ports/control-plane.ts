import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';
import type { ControlPlaneAnswer, ControlPlaneRequest } from '../domain/deploy/control-plane-api.js';

/** Why no complete answer came. */
export type ControlPlaneError = CtrlExecError<
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
 * Contract: any complete answer is an `Ok`, whatever its status; nothing is asked again and no redirect is followed. One call
 * takes at most 30 seconds and its answer at most 16 MiB. A JSON body is sent as such, and the agent's API key with every
 * call; no error tells it. After `close` every call is `aborted`, those under way too.
 */
export interface ControlPlane {
  /** Sends one request and gives the answer that came. */
  send(
    request: ControlPlaneRequest,
    signal?: AbortSignal,
  ): ResultAsync<ControlPlaneAnswer, ControlPlaneError>;
  /** Ends what is under way; safe to call again. */
  close(): Promise<void>;
}
