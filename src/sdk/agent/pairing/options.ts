import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import { sessionSeconds } from '../../../domain/pairing/messages.js';
import type { AgentContext } from '../context.js';

/** How the agent's side knows that it speaks with the right dispatcher. */
export type PairingTrust =
  /** People compare the codes: `confirm` resolves to whether they match. */
  | {
      readonly kind: 'compare';
      /** Asks somebody; true: both hosts show the same. */
      readonly confirm: (code: PairingCode) => Promise<boolean>;
    }
  /** SHA-256 of the CA's DER, hex with or without colons, as `setup-ca` printed it. */
  | { readonly kind: 'ca-sha256'; readonly fingerprint: string }
  /** A join token proves both sides to each other; nobody needs to approve. */
  | { readonly kind: 'join'; readonly token: string }
  /** Whoever answers is believed: only where nobody can be between the two hosts. */
  | { readonly kind: 'first-use' };

/** What people compare, on both hosts. */
export interface PairingCode {
  /** Six digits. */
  readonly code: string;
  /** Request id, as `list-requests` shows it: of version 2 the session in hex. */
  readonly request: string;
  /** As the dispatcher names itself; proven only by the comparison. Undefined by version 1, which says so at the end. */
  readonly dispatcherId: string | undefined;
  readonly version: 'v1' | 'v2';
}

/** Whom to pair with, as whom, and how to know that it is the right one. */
export interface PairingOptions {
  /** Host name or address of the dispatcher. */
  readonly dispatcher: string;
  /** Default: 7444. */
  readonly port?: number;
  /** How the dispatcher shall reach this host. Default: `hostname`. */
  readonly lookupBy?: 'hostname' | 'ip';
  /** The name to ask for. Default: this host's name. */
  readonly hostName?: string;
  /**
   * The operational port to register; `serve({ port: 0 })` takes it. 0: one is chosen now. Default: the one that was registered or
   * served on last, unless `port` of the configuration has changed since; else that one.
   */
  readonly agentPort?: number;
  readonly trust: PairingTrust;
  /** Told the code as soon as it is known. */
  readonly onCode?: (code: PairingCode) => void;
  /** Make a new key although there is one. Default false. */
  readonly newKey?: boolean;
  /** Give up an identity under another CA. Default false: `identity_exists`. */
  readonly replace?: boolean;
  /**
   * Pair by version 1 where the dispatcher knows no other: the code that it shows can be forged by whoever is between the
   * hosts, so `trust` must be `ca-sha256` or `first-use`. Default false.
   */
  readonly allowV1?: boolean;
  /** Seconds to wait in all, for a place in the queue and for the operator. Default: 600, as long as a session lives. */
  readonly timeout?: number;
  readonly signal?: AbortSignal;
}

/** What pairing has installed. */
export interface Paired {
  /** The name in the dispatcher's registry. */
  readonly name: string;
  readonly dispatcherId: string;
  readonly code: string;
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  readonly version: 'v1' | 'v2';
  /** Whether what a dispatcher of version 1 sends, which is not signed, is accepted here: `accept_legacy_dispatchers`. */
  readonly acceptsUnsigned: boolean;
}

/** Milliseconds between two attempts at a place in the queue. */
export const retryDelay = 10_000;

/** On the monotonic clock. */
export const deadlineOf = (
  { clock }: AgentContext,
  { timeout = sessionSeconds }: Pick<PairingOptions, 'timeout'>,
): number => clock.monotonic() + timeout * 1000;

/** Nobody's comparison and no token protects a pairing of version 1: somebody has to have known that. */
export const judgeOptions = ({
  allowV1,
  trust,
}: PairingOptions): Result<void, CtrlExecError<'invalid_argument'>> =>
  /* defence: version-1-needs-known-ca */ !allowV1 || trust.kind === 'ca-sha256' || trust.kind === 'first-use'
    ? ok(undefined)
    : err(
        failure(
          'invalid_argument',
          '--allow-v1: --ca-sha256 or --trust-on-first-use is needed as well, because the code of version 1 proves nothing',
          { field: 'allow-v1', reason: 'neither --ca-sha256 nor --trust-on-first-use' },
        ),
      );

/** @param given the dispatcher's words */
export const denied = (given: string): CtrlExecError<'pairing_denied'> => {
  const reason = printable(given, 300);
  return failure('pairing_denied', `pairing was denied: ${reason}`, { reason });
};

export const expired = (): CtrlExecError<'pairing_expired'> =>
  failure('pairing_expired', 'nobody approved in time: the request has expired', {});
