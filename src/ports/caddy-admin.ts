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

/** Where an administration API is, and whose it may be. */
export interface CaddyPlace {
  /** Base URL without a trailing slash, on a loopback address; or `unix//run/caddy/admin.sock`, as Caddy writes a socket. */
  readonly api: string;
  /** Names or numbers of users, besides root. */
  readonly owners: readonly string[];
}

/**
 * The administration API of a Caddy server.
 *
 * Contract: nothing is sent before it is known that the other end belongs to root or to one of `owners`: the owner of the socket's
 * file, in directories in which only they can put another, or the user of every socket that listens at the address and port that is called; else it is `connection_failed` with the
 * reason `owner`. answers are bounded to 16 MiB, calls to 10 s; redirects are not followed. What Caddy refuses is `refused` with its status
 * and without its words, which may quote the document; a revision that is no longer the current one is refused with 412,
 * and then nothing has changed.
 */
export interface CaddyAdmin {
  /** The configuration in force. */
  read(place: CaddyPlace): ResultAsync<CaddyConfiguration, CaddyFailure>;
  /** Replaces the whole document, in force when this is Ok; on an Err of `refused` the former one is in force. */
  replace(place: CaddyPlace, configuration: CaddyConfiguration): ResultAsync<void, CaddyFailure>;
}
