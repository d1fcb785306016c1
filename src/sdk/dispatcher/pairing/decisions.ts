import { err, errAsync, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { newAgentName } from '../../../domain/core/host-argument.js';
import { shortestAddress } from '../../../domain/core/ip-prefix.js';
import { printable } from '../../../domain/core/names.js';
import { isGivenUp, type PairingRequest, sameCode, waits } from '../../../domain/pairing/request.js';
import type { DispatcherContext } from '../context.js';

/** Which pairing request is approved, and as what. */
export interface Approval {
  /** The session in hex, or any unique prefix of 8 digits or more. */
  readonly id: string;
  /**
   * What the agent shows: `7f3a91c2-482913`, request id and code, or the six digits alone. Another id or code refuses the
   * request and ends the session.
   */
  readonly code?: string;
  /** Registry name. Default: the host name that the agent gave. */
  readonly name?: string;
  /** Whether a name that is registered may get this new key. Default false: `agent_exists`. */
  readonly replace?: boolean;
  /** How to reach the agent. Default: what it asked for. */
  readonly lookupBy?: 'hostname' | 'ip';
  /** Its operational port. Default: what it asked for. */
  readonly port?: number;
  /** The address that is registered. Default: where its connection came from. */
  readonly ip?: string;
}

type DecisionFailure = CtrlExecError<
  | 'agent_exists'
  | 'codes_differ'
  | 'downgrade_refused'
  | 'invalid_argument'
  | 'id_ambiguous'
  | 'not_ready'
  | 'pairing_unknown'
  | 'store_failed'
>;

/** Which requests are listed. */
export interface RequestListing {
  /** Those as well that were given up after their code was known, and hold a place until they are denied or expire. Default false. */
  readonly givenUp?: boolean;
}

/** Requests that wait for a decision or for their code. */
export const listRequests = (
  { clock, pairing }: DispatcherContext,
  { givenUp = false }: RequestListing = {},
): ResultAsync<readonly PairingRequest[], CtrlExecError<'store_failed'>> =>
  pairing
    .held(clock.now())
    .map((held) => held.filter((request) => waits(request) || (givenUp && isGivenUp(request, clock.now()))));

function findRequest(
  context: DispatcherContext,
  id: string,
  listing?: RequestListing,
): ResultAsync<
  PairingRequest,
  CtrlExecError<'invalid_argument' | 'id_ambiguous' | 'pairing_unknown' | 'store_failed'>
> {
  const prefix = id.toLowerCase();
  if (!/^[0-9a-f]{8,32}$/.test(prefix))
    return errAsync(
      failure(
        'invalid_argument',
        `${printable(id, 40)}: a request id is 8 to 32 hex digits, as the list of requests has it`,
        {
          field: 'id',
          reason: 'not 8 to 32 hex digits',
        },
      ),
    );
  return listRequests(context, listing).andThen((requests) => {
    const matches = requests.filter((request) => request.id.startsWith(prefix));
    const [first, second] = matches;
    if (!first)
      return err(failure('pairing_unknown', `no pairing request ${prefix} is waiting`, { id: prefix }));
    if (second)
      return err(
        failure('id_ambiguous', `${prefix} names ${matches.length} requests: give more digits`, {
          id: prefix,
          matches: matches.map((request) => request.id),
        }),
      );
    return ok(first);
  });
}

/** Approves a request whose code was compared. The certificate is issued once the agent has confirmed as well. */
export function approve(
  context: DispatcherContext,
  approval: Approval,
): ResultAsync<PairingRequest, DecisionFailure> {
  return findRequest(context, approval.id)
    .mapErr((error): DecisionFailure => error)
    .andThen((request) => addressOf(approval.ip).map(() => request))
    .andThen((request) => judgeCode(context, request, approval.code))
    .andThen((request) =>
      newAgentName(approval.name ?? request.host)
        .asyncAndThen((name) => nameIsFree(context, request, name, approval.replace ?? false).map(() => name))
        .andThen((name) =>
          context.pairing.decide({
            id: request.id,
            decision: {
              verdict: 'approve',
              name,
              replace: approval.replace ?? false,
              ...(approval.lookupBy && { lookupBy: approval.lookupBy }),
              ...(approval.port !== undefined && { port: approval.port }),
              ...(approval.ip !== undefined && { ip: shortestAddress(approval.ip) ?? approval.ip }),
            },
            at: context.clock.now(),
          }),
        ),
    )
    .map((request) => {
      context.events.emit({ action: 'pairing-approved', fields: about(request) });
      return request;
    });
}

function addressOf(ip: string | undefined): Result<void, DecisionFailure> {
  if (ip === undefined || shortestAddress(ip) !== undefined) return ok(undefined);
  const reason = 'an IPv4 or IPv6 address is expected';
  return err(failure('invalid_argument', `ip: ${reason}`, { field: 'ip', reason }));
}

function judgeCode(
  context: DispatcherContext,
  request: PairingRequest,
  code: string | undefined,
): ResultAsync<PairingRequest, DecisionFailure> {
  if (request.state !== 'open' || request.code === undefined)
    return errAsync(
      failure('not_ready', `${request.id.slice(0, 8)} is not ready: the agent has not shown its code yet`, {
        id: request.id,
        state: request.state,
      }),
    );
  if (code === undefined) return okAsync(request);
  const same = sameCode(request, code);
  // A slip of the shell is no attack, and must not count as one.
  if (same === undefined) {
    const reason = 'the text that the agent shows is expected, like 7f3a91c2-482913, or its last six digits';
    return errAsync(failure('invalid_argument', `code: ${reason}`, { field: 'code', reason }));
  }
  if (/* defence: operator-compares-codes */ same) return okAsync(request);
  return refuse(context, request, { reason: 'the codes differ', wrongCode: true }).andThen(() =>
    err(
      failure(
        'codes_differ',
        'the codes differ: the request was refused. Somebody may be between the two hosts',
        {},
      ),
    ),
  );
}

const nameIsFree = (
  context: DispatcherContext,
  { version }: PairingRequest,
  name: string,
  replace: boolean,
): ResultAsync<void, DecisionFailure> =>
  context.registry.find(name).andThen((record) => {
    // defence: paired-by-version-2-stays
    if (record?.pairing === 'v2' && version === 'v1')
      return err(
        failure(
          'downgrade_refused',
          `${name} has paired by version 2 before and cannot pair by version 1: give another name, or deny it`,
          { name },
        ),
      );
    return record && !replace
      ? err(
          failure(
            'agent_exists',
            `${name} is registered already: approve with replace to give it this new key`,
            {
              name,
            },
          ),
        )
      : ok(undefined);
  });

/** Denies a request; the agent is told the reason. One that was given up gives its place back. */
export function deny(
  context: DispatcherContext,
  id: string,
  reason = 'denied by the operator',
): ResultAsync<PairingRequest, DecisionFailure> {
  return findRequest(context, id, { givenUp: true })
    .mapErr((error): DecisionFailure => error)
    .andThen((request) => refuse(context, request, { reason }));
}

const refuse = (
  { clock, events, pairing }: DispatcherContext,
  { id }: PairingRequest,
  denial: { readonly reason: string; readonly wrongCode?: true },
) =>
  pairing.decide({ id, decision: { verdict: 'deny', ...denial }, at: clock.now() }).map((denied) => {
    events.emit({ action: 'pairing-denied', fields: { ...about(denied), reason: denial.reason } });
    return denied;
  });

const about = ({ id: request, host, ip }: PairingRequest) => ({ request, host, ip });
