import { ok, ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { maxPingAnswer, type PingAnswer, readPingAnswer } from '../../../domain/protocol/agent-protocol.js';
import { hostError } from '../../../domain/runs/host-ends.js';
import { worthKeeping } from '../../../domain/trust/agent-standing.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { renewalDue } from '../../../domain/trust/lifecycle.js';
import { guarded } from '../../core/callback.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { freshReqid } from '../trust/agent-request.js';
import { type Addressed, destinationOf } from '../trust/agent-target.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { tellAll } from '../trust/reconcile/catch-up.js';
import { renewAgent } from '../trust/renewal.js';
import { type AskFailure, type Asking, loggedError, prepare } from './ask.js';
import { exchange, pendingMember } from './contact.js';

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
  return prepare(context, { action: 'ping', hosts: request.hosts }, request).andThen(({ hosts, identity }) =>
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

/**
 * What a ping shows is acted on: a certificate that is due is renewed, a revocation list that an agent has lost is told
 * anew at the next contact, and one that this dispatcher has lost is fetched. That it fails is no failure of the ping; it is logged, and tried again.
 */
function lookAfter(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  name: string,
  peer: Certificate,
  { crlNumber, features }: PingAnswer,
): ResultAsync<void, never> {
  const { clock, registry } = context;
  return safeTry<void, CtrlExecError>(async function* () {
    const record = yield* registry.find(name);
    if (!record) return ok(undefined);
    const lists = crlNumber !== undefined && crlNumber !== record.standing.crlNumber && { crlNumber };
    const change = { ...lists, ...(features.length > 0 && { features }) };
    const { standing } = worthKeeping(record.standing, change) ? yield* registry.note(name, change) : record;
    // A list of before this state was restored from a backup: offered ours, the agent shows it.
    if (crlNumber !== undefined && crlNumber > identity.revision)
      yield* tellAll(context, identity, { ...destinationOf(record), record: { ...record, standing } });
    // A legacy agent counts connections: maintenance renews it.
    const signs = record.standing.speaks === 'signed';
    if (signs && renewalDue(peer, clock.now())) yield* renewAgent(context, identity, record);
    return ok(undefined);
  }).orElse(() => ok(undefined));
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
    .andThen((answered) => {
      const { answer, rtt, name } = answered;
      return readPingAnswer(answer.status, answer.body).asyncAndThen((read) => {
        const { version, expiry, reportedHostname, problems } = read;
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
        return lookAfter(context, identity, name, answer.peer, read).map(() => result);
      });
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
