import { ResultAsync } from 'neverthrow';
import { maxPingAnswer, readPingAnswer } from '../../domain/agent-protocol.js';
import { parallel } from '../parallel.js';
import { type AskFailure, type Asking, freshReqid, hostError, prepare } from './ask.js';
import { type Addressed, exchange } from './contact.js';
import type { DispatcherContext, DispatcherIdentity } from './context.js';

export interface PingRequest extends Asking {
  /** As in a run; at least one. */
  readonly hosts: readonly string[];
  /** Called as each host's result arrives, in that order. */
  readonly onResult?: (result: PingResult) => void;
}

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
    }
  | { readonly host: string; readonly status: 'error'; readonly error: string; readonly rtt: number };

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
  return prepare(context, { action: 'ping', hosts: request.hosts }, request).andThen(({ hosts, identity }) =>
    ResultAsync.fromSafePromise(
      parallel(hosts, settings.maxParallel, async (host) => {
        const result = await pingOne(context, identity, host, reqid, request.signal);
        const { status, rtt } = result;
        const error = result.status === 'error' ? result.error : undefined;
        events.emit({
          action: 'ping',
          level: error === undefined ? 'info' : 'warning',
          fields: { reqid, host: host.host, status, rtt, error },
        });
        request.onResult?.(result);
        return result;
      }),
    ).map((results) => ({ reqid, results })),
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
  const started = context.clock.monotonic();
  return exchange(context, identity, addressed, {
    method: 'POST',
    path: '/ping',
    body: { reqid },
    answerTimeout: context.settings.readTimeout * 1000,
    maxAnswer: maxPingAnswer,
    signal,
  })
    .andThen(({ answer, rtt }) =>
      readPingAnswer(answer.status, answer.body).map(({ version, expiry, reportedHostname }) => ({
        host,
        status: 'ok' as const,
        rtt,
        expiry,
        version,
        ...(reportedHostname !== '' && reportedHostname !== host && { reportedHostname }),
      })),
    )
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
