// Compiled by `npm run types`, never run: what holds of the types of ctrl-exec/errors.
import { type CtrlExecError, type ErrorCode, failure, type Lock } from 'ctrl-exec/errors';
import { expectTypeOf } from 'vitest';

/** Every code, so that a new one breaks this file as it breaks the programs of users. */
export function everyCode(error: CtrlExecError): string {
  switch (error.code) {
    case 'aborted':
    case 'agent_denied':
    case 'agent_exists':
    case 'agent_unknown':
    case 'busy':
    case 'ca_exists':
    case 'ca_missing':
    case 'cancelled':
    case 'certificate_invalid':
    case 'codes_differ':
    case 'config_invalid':
    case 'connection_failed':
    case 'connection_refused':
    case 'crypto_failed':
    case 'denied':
    case 'deployment_failed':
    case 'downgrade_refused':
    case 'file_failed':
    case 'forgotten':
    case 'held':
    case 'host_unresolved':
    case 'id_ambiguous':
    case 'idempotency_mismatch':
    case 'identity_exists':
    case 'identity_missing':
    case 'invalid_argument':
    case 'key_banned':
    case 'listen_failed':
    case 'locked':
    case 'lost':
    case 'not_allowlisted':
    case 'not_ready':
    case 'overloaded':
    case 'pairing_denied':
    case 'pairing_expired':
    case 'pairing_unknown':
    case 'protocol_violation':
    case 'refused':
    case 'replayed':
    case 'revoked':
    case 'run_unknown':
    case 'script_failed':
    case 'script_timed_out':
    case 'signature_refused':
    case 'silent':
    case 'skipped':
    case 'spawn_failed':
    case 'store_failed':
    case 'target_unknown':
    case 'timed_out':
    case 'tls_failed':
    case 'too_large':
    case 'unpinned':
    case 'unverified':
    case 'wrong_identity':
      return error.message;
  }
}

/** The same with one case left out does not compile: it falls off the end. */
// @ts-expect-error not every code returns
export function oneMissing(error: CtrlExecError): string {
  switch (error.code) {
    case 'aborted':
    case 'agent_denied':
    case 'agent_exists':
    case 'agent_unknown':
    case 'busy':
    case 'ca_exists':
    case 'ca_missing':
    case 'cancelled':
    case 'certificate_invalid':
    case 'codes_differ':
    case 'config_invalid':
    case 'connection_failed':
    case 'connection_refused':
    case 'crypto_failed':
    case 'denied':
    case 'deployment_failed':
    case 'downgrade_refused':
    case 'file_failed':
    case 'forgotten':
    case 'held':
    case 'host_unresolved':
    case 'id_ambiguous':
    case 'idempotency_mismatch':
    case 'identity_exists':
    case 'identity_missing':
    case 'invalid_argument':
    case 'key_banned':
    case 'listen_failed':
    case 'lost':
    case 'not_allowlisted':
    case 'not_ready':
    case 'overloaded':
    case 'pairing_denied':
    case 'pairing_expired':
    case 'pairing_unknown':
    case 'protocol_violation':
    case 'refused':
    case 'replayed':
    case 'revoked':
    case 'run_unknown':
    case 'script_failed':
    case 'script_timed_out':
    case 'signature_refused':
    case 'silent':
    case 'skipped':
    case 'spawn_failed':
    case 'store_failed':
    case 'target_unknown':
    case 'timed_out':
    case 'tls_failed':
    case 'too_large':
    case 'unpinned':
    case 'unverified':
    case 'wrong_identity':
      return error.message;
  }
}

/** As programs do it that want the compiler to name what is missing. */
export function neverLeft(error: CtrlExecError<'denied' | 'locked' | 'aborted'>): number {
  switch (error.code) {
    case 'denied':
      expectTypeOf(error).toEqualTypeOf<CtrlExecError<'denied'>>();
      return error.hookCode ?? 1;
    case 'locked':
      expectTypeOf(error.conflicts).toEqualTypeOf<readonly Lock[]>();
      // @ts-expect-error another code's field
      error.hookCode;
      return 75;
    default:
      expectTypeOf(error).toEqualTypeOf<CtrlExecError<'aborted'>>();
      // @ts-expect-error `aborted` is left
      error satisfies never;
      return 1;
  }
}

expectTypeOf<CtrlExecError['code']>().toEqualTypeOf<ErrorCode>();
expectTypeOf<CtrlExecError['message']>().toEqualTypeOf<string>();
expectTypeOf(failure('agent_unknown', 'no such agent', { name: 'x' })).toEqualTypeOf<
  CtrlExecError<'agent_unknown'>
>();
// @ts-expect-error fields of another code
failure('agent_unknown', 'no such agent', { host: 'x' });
// @ts-expect-error no such code
failure('agent_lost', 'no such code', {});
