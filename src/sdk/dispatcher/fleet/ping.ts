import { ResultAsync } from 'neverthrow';
import { hostError } from '../../../domain/runs/host-ends.js';
import { guarded } from '../../core/callback.js';
import { parallel } from '../../core/parallel.js';
import { ping as endpoint } from '../../protocol/endpoints.js';
import type { DispatcherContext } from '../context.js';
import { freshReqid } from '../trust/ask.js';
import type { Addressed } from '../trust/destination.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { type AskFailure, type Asking, loggedError, plan } from './ask.js';
import { contact, pendingMember } from './contact.js';
import { lookAfter } from './look-after.js';

/** Whom to ping. */
export interface PingRequest extends Asking {
  /** As in a run; at least one. */
  readonly hosts: readonly string[];
  /** Called as each host's result arrives, in that order. */
  readonly onResult?: (result: PingResult) => void;
}

/** What one host answered, or why it did not. */
export type PingResult =
  | {
      readonly host: string;
      readonly status: 'ok';
      /** Whole milliseconds. */
      readonly rtt: number;
      /** The agent certificate's notAfter in OpenSSL's text form, as the agent reports it. */
      readonly expiry: string;
      readonly version: string;
      /** How the agent names itself, when that differs. */
      readonly reportedHostname?: string;
      /** What is wrong on the host, in the agent's words; left out where there is nothing. */
      readonly problems?: readonly string[];
      /** Since when the agent lacks a revocation, epoch milliseconds: it may accept what was revoked. Absent: it lacks none. */
      readonly revocationsPendingSince?: number;
    }
  | { readonly host: string; readonly status: 'error'; readonly error: string; readonly rtt: number };

/** What hosts answered. */
export interface Ping {
  /** 16 hex digits, the same in the logs of both hosts. */
  readonly reqid: string;
  /** One per host, in the order of the request. */
  readonly results: readonly PingResult[];
}

/** A mutual TLS round trip to every host; a host that fails is reported inline. */
export function ping(context: DispatcherContext, request: PingRequest): ResultAsync<Ping, AskFailure> {
  const { events, settings } = context;
  const reqid = freshReqid(context);
  const callback = guarded(request.onResult);
  return plan(context, { action: 'ping', hosts: request.hosts }, request).andThen(({ hosts, identity }) =>
    ResultAsync.fromSafePromise(
      parallel(hosts, settings.maxParallel, async (host) => {
        const result = await pingOne(context, identity, host, reqid, request.signal);
        const { status, rtt } = result;
        const error = result.status === 'error' ? result.error : undefined;
        events.emit({
          action: 'ping',
          level: error === undefined ? 'info' : 'warning',
          fields: { reqid, host: host.host, status, rtt, error: loggedError(error, request) },
        });
        callback.tell(result);
        return result;
      }),
    ).map((results) => {
      callback.rethrow();
      return { reqid, results };
    }),
  );
}

function pingOne(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  reqid: string,
  signal: AbortSignal | undefined,
): Promise<PingResult> {
  const { host } = addressed;
  const options = { answerTimeout: context.settings.readTimeout * 1000, signal };
  const started = context.clock.monotonic();
  return contact(context, identity, addressed, endpoint, { reqid }, options)
    .andThen(({ answer, rtt, peer, ...answered }) => {
      const { version, expiry, reportedHostname, problems } = answer;
      const result = {
        host,
        status: 'ok' as const,
        rtt,
        expiry,
        version,
        ...(reportedHostname !== '' && reportedHostname !== host && { reportedHostname }),
        ...(problems.length > 0 && { problems }),
        ...pendingMember(answered),
      };
      return lookAfter(context, identity, answered.name, peer.certificate, answer).map(() => result);
    })
    .match(
      (result): PingResult => result,
      (error): PingResult => ({
        host,
        status: 'error',
        error: hostError(error),
        rtt: Math.round(context.clock.monotonic() - started),
      }),
    );
}
