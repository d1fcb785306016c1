import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../core/errors.js';
import type { AgentRecord } from '../trust/agent-record.js';
import { type JoinTokenRecord, whyNotUsable } from './join-token.js';
import { notReady, type PairingDecision, type PairingRequest } from './request.js';

/*
 * What is judged within the units of work of pairing. Every adapter asks here, inside its transaction.
 */

/** Whether a request can be opened with this code, or was already. */
export function judgeOpening(
  request: PairingRequest,
  code: string,
  at: number,
): Result<'open' | 'repeated', CtrlExecError<'not_ready'>> {
  const { id, state, expiresAt } = request;
  if (state === 'open' && request.code === code) return ok('repeated');
  if (state !== 'started') return err(notReady(id, state));
  return at < expiresAt ? ok('open') : err(notReady(id, 'expired'));
}

/** Whether a token can be used for `name`, and is unbound or bound to this CSR (SHA-256, hex). */
export function judgeToken(
  token: JoinTokenRecord | undefined,
  { name, csrSha256, at }: { readonly name: string; readonly csrSha256: string; readonly at: number },
): Result<void, CtrlExecError<'pairing_denied'>> {
  const why =
    whyNotUsable(token, name, at) ??
    (token?.boundTo === undefined || /* defence: join-token-is-for-one-key */ token.boundTo === csrSha256
      ? undefined
      : boundElsewhere);
  return why === undefined ? ok(undefined) : err(tokenRefused(why));
}

const tokenRefused = (reason: string): CtrlExecError<'pairing_denied'> =>
  failure('pairing_denied', reason, { reason });

/** Whoever has proved a token is approved by it. Whether the name is free is judged when the certificate is issued. */
export const approvalByToken = (name: string): PairingDecision => ({
  verdict: 'approve',
  name,
  replace: false,
});

/** The reason where a token is bound to another CSR: whoever holds it has used it twice. */
export const boundElsewhere = 'the token is bound to another request';

/** What a certificate is issued upon. */
export interface IssueQuestion {
  readonly request: PairingRequest;
  /** The registered agent of the name. */
  readonly record: AgentRecord | undefined;
  /** The join token that the request was begun with. */
  readonly token: JoinTokenRecord | undefined;
  readonly name: string;
  readonly serial: string;
  readonly csrSha256: string;
  readonly at: number;
}

/** Whether the certificate can be recorded, or was already. */
export function judgeIssue(
  question: IssueQuestion,
): Result<'issue' | 'repeated', CtrlExecError<'not_ready' | 'agent_exists' | 'pairing_denied'>> {
  const { request, record, token, name, serial, csrSha256, at } = question;
  const { id, state, decision } = request;
  if (state === 'issued' && record?.pins.some((pin) => pin.serial === serial)) return ok('repeated');
  if (state !== 'open') return err(notReady(id, state));
  if (at >= request.expiresAt) return err(notReady(id, 'expired'));
  // defence: certificate-needs-approval
  if (decision?.verdict !== 'approve' || decision.name !== name) return err(notReady(id, 'not approved'));
  if (request.place.kind !== 'join') return ok('issue');
  return judgeToken(token, { name, csrSha256, at }).andThen(() =>
    isActive(record) ? err(inUse(name)) : ok('issue' as const),
  );
}

/**
 * Whether a key may become the active one of `record`.
 * @param request the one that the key was certified for, if that is known
 */
export const judgeActivation = (
  record: AgentRecord,
  spkiSha256: string,
  request: PairingRequest | undefined,
): Result<void, CtrlExecError<'agent_exists'>> =>
  request?.place.kind === 'join' &&
  isActive(record) &&
  /* defence: join-token-replaces-no-active-key */ !record.pins.some(
    (pin) => pin.state === 'active' && pin.spkiSha256 === spkiSha256,
  )
    ? err(inUse(record.name))
    : ok(undefined);

/** A name that was issued a certificate and never used it is begun anew; one that is in use needs a person. */
export const isActive = (record: AgentRecord | undefined): boolean =>
  /* defence: join-token-is-judged-at-issue */ record?.pins.some(({ state }) => state === 'active') ?? false;

const inUse = (name: string): CtrlExecError<'agent_exists'> =>
  failure('agent_exists', `${name} is registered already`, { name });
