import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

/** Why Caddy did not do it, or nobody knows. */
export type CaddyFailure = CtrlExecError<
  'timed_out' | 'connection_failed' | 'protocol_violation' | 'too_large' | 'refused'
>;

/** The whole configuration of a Caddy server. */
export interface CaddyConfiguration {
  /** The JSON document, or null where Caddy has none. */
  readonly document: unknown;
  /** Of this document, as Caddy names it; undefined: it does not. */
  readonly revision: string | undefined;
}

/**
 * The administration API of a Caddy server.
 *
 * Contract: answers are bounded to 16 MiB, calls to 10 s; redirects are not followed. What Caddy refuses is `refused` with its status
 * and without its words, which may quote the document; a revision that is no longer the current one is refused with 412,
 * and then nothing has changed.
 */
export interface CaddyAdmin {
  /** The configuration in force. @param api base URL without a trailing slash */
  read(api: string): ResultAsync<CaddyConfiguration, CaddyFailure>;
  /** Replaces the whole document, in force when this is Ok; on an Err of `refused` the former one is in force. */
  replace(api: string, configuration: CaddyConfiguration): ResultAsync<void, CaddyFailure>;
}
