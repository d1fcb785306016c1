import { err, errAsync, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { can } from '../../../domain/trust/abilities.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { mayAnswerUnsigned } from '../../../domain/trust/agent-standing.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import {
  type CallError,
  type Called,
  type CallOptions,
  protocolClient,
  type Shown,
  type Trust,
} from '../../protocol/client.js';
import type { Answers, Endpoint } from '../../protocol/endpoint.js';
import type { DispatcherContext } from '../context.js';
import { spkiDigest } from './agent-key.js';
import type { AskedBy, Destination } from './destination.js';
import { judge } from './judge.js';
import { whyClosed, whyItWouldRefuse } from './legacy.js';
import { recordFailed } from './record-failed.js';

/** A fresh request id: 16 hex digits, unguessable. */
export const freshReqid = (context: Pick<DispatcherContext, 'random'>): string =>
  hex(context.random.bytes(8));

/** Milliseconds for the answer to a short request. */
const shortTimeout = 10_000;

export interface AskOptions extends Partial<CallOptions> {
  /** Given the registered agent that has answered, as it is known since then. */
  readonly onAgent?: (record: AgentRecord) => void;
}

/** One request to an agent, signed for the key that answers, and its verified answer (wire-protocol 2.3). */
export function ask<R, A extends Answers>(
  context: DispatcherContext,
  by: AskedBy,
  to: Destination,
  endpoint: Endpoint<R, A>,
  request: R,
  { onAgent, ...options }: AskOptions = {},
): ResultAsync<Called<A>, CallError> {
  const { record, dial } = to;
  const refused = record && whyItWouldRefuse(context, by, record);
  if (refused !== undefined)
    return errAsync(failure('tls_failed', refused, { host: dial.host, reason: 'WOULD_BE_REFUSED' }));
  const callee = {
    target: {
      ...dial,
      credentials: by.credentials,
      trust: by.cas,
      allowExpired: to.allowExpired ?? false,
      key: connectionKey(to),
    },
    trust: trustIn(context, by, to, onAgent),
    host: `${dial.host}:${dial.port}`,
  };
  return protocolClient(context, context.settings.connectTimeout * 1000)
    .call(endpoint, callee, request, {
      answerTimeout: shortTimeout,
      maxOutput: context.settings.maxAnswer,
      signal: to.signal,
      ...options,
    })
    .mapErr((error) => (record && !can(record.standing, 'polling') ? whyClosed(error) : error));
}

const connectionKey = ({ dial, host, allowExpired }: Destination): string =>
  JSON.stringify([dial.host, dial.port, host, ...(allowExpired ? ['expired'] : [])]);

/** Kept connections to an agent may belong to a key that is not its any more, or to a certificate that has expired. */
export function forgetConnections({ channel }: DispatcherContext, to: Destination): void {
  for (const allowExpired of [true, false]) channel.forget(connectionKey({ ...to, allowExpired }));
}

/** What the seam asks of the dispatcher about one agent. */
function trustIn(
  context: DispatcherContext,
  { signer, certificate }: AskedBy,
  to: Destination,
  onAgent: AskOptions['onAgent'],
): Trust {
  return {
    judge: (peer) => judge(context, to, certificate, peer),
    signer: () => signer,
    onVerified: (peer, shown) =>
      observed(context, peer, certificate.serial, shown).map((record) => {
        if (record) onAgent?.(record);
        const { spki, serial } = peer;
        const name = (record ?? to.record)?.name;
        return { name, spki, certificate: peer, serial, address: to.dial.host, via: 'direct' };
      }),
  };
}

/**
 * Keeps what an answer shows of the agent that gave it. What could not be kept is kept at the next answer; the answer stands. An
 * agent that was unpaired meanwhile has nothing to keep it in: undefined.
 * @param own serial of this side's certificate
 */
function observed(
  context: DispatcherContext,
  peer: Certificate,
  own: string,
  { signed, how }: Shown,
): ResultAsync<AgentRecord | undefined, CtrlExecError<'unverified' | 'store_failed'>> {
  const { clock, events, pairing } = context;
  const change = {
    speaks: signed ? ('signed' as const) : ('unsigned' as const),
    ...(how !== 'stranger' && { accepted: own }),
    // What a legacy agent trusts shows by its answering: nobody else tells.
    ...(!signed && how === 'answered' && { trusts: [own] }),
  };
  const spkiSha256 = spkiDigest(context, peer);
  const acceptable = signed
    ? okAsync(undefined)
    : /* defence: unsigned-answer-is-refused */ mayBeUnsigned(context, spkiSha256);
  return acceptable.andThen(() =>
    pairing
      .observed({ spkiSha256, serial: peer.serial, at: clock.now(), change })
      .map(({ before, record }): AgentRecord | undefined => {
        // Whoever has signed once is a peer of ours: from now on a signature is required of it (wire-protocol 2.3).
        if (before.standing.speaks !== 'signed' && record.standing.speaks === 'signed')
          events.emit({ action: 'signature-required', fields: { host: record.name } });
        return record;
      })
      .orElse((error) => {
        if (error.code === 'unverified') return err(error);
        if (error.code === 'store_failed') recordFailed(context, error.message);
        return ok(undefined);
      }),
  );
}

/** Whether an answer without a signature can be accepted: it is one of a legacy agent that may do without. */
function mayBeUnsigned(
  { registry, settings }: DispatcherContext,
  spkiSha256: string,
): ResultAsync<void, CtrlExecError<'unverified' | 'store_failed'>> {
  return safeTry(async function* () {
    // As it is stored now: it may have signed something since the request was made.
    const known = yield* registry.findByKey(spkiSha256);
    if (known && mayAnswerUnsigned(known, settings.allowLegacyAgents)) return ok(undefined);
    const reason = !known
      ? 'the answer is not signed'
      : can(known.standing, 'sign')
        ? `the answer is not signed, and ${known.name} has signed before: edit-agent ${known.name} --legacy, if it is a legacy agent again`
        : `the answer is not signed, and allow_legacy_agents does not name ${known.name}`;
    return err(failure('unverified', reason, { reason }));
  });
}
