import { ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { mayAnswerUnsigned, type StandingChange } from '../../../domain/trust/agent-standing.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { DispatcherContext } from '../context.js';
import { spkiDigest } from './agent-key.js';
import { confirmed } from './first-contact.js';

type Failed = CtrlExecError<'agent_unknown' | 'store_failed'>;

/** What could not be noted is noted at the next answer; the answer stands. An agent that was unpaired meanwhile has nothing to note. */
const noted = (
  { events }: DispatcherContext,
  noting: ResultAsync<unknown, Failed>,
): ResultAsync<void, never> =>
  noting
    .map(() => undefined)
    .orElse((error) => {
      if (error.code === 'store_failed')
        events.emit({
          action: 'record-failed',
          level: 'error',
          fields: { reqid: undefined, reason: error.message },
        });
      return ok(undefined);
    });

/** Whoever has signed once is a peer of ours: from now on a signature is required of it (wire-protocol 2.3). */
export function signsFromNowOn(
  context: DispatcherContext,
  record: AgentRecord | undefined,
  peer: Certificate,
): ResultAsync<void, never> {
  if (record?.standing.speaks === 'signed') return okAsync(undefined);
  const { events, registry } = context;
  const noting = safeTry<void, Failed>(async function* () {
    const known = yield* registry.findByKey(spkiDigest(context, peer));
    if (!known) return ok(undefined);
    // First: a pairing that becomes active brings a standing of its own.
    yield* confirmed(context, known, peer);
    const latest = yield* registry.find(known.name);
    if (!latest || latest.standing.speaks === 'signed') return ok(undefined);
    yield* registry.note(known.name, { speaks: 'signed' });
    events.emit({ action: 'signature-required', fields: { host: known.name } });
    return ok(undefined);
  });
  return noted(context, noting);
}

/** How an answer without a signature came. */
export interface Unsigned {
  readonly peer: Certificate;
  /** Serial of this side's certificate, where the agent has shown that it trusts it. */
  readonly trusts: string | undefined;
}

/**
 * Why an answer without a signature cannot be accepted; undefined: it is one of a legacy agent that may do without. What such
 * an agent trusts shows by its answering: nobody else tells.
 */
export function whyUnacceptable(
  context: DispatcherContext,
  { peer, trusts }: Unsigned,
): ResultAsync<string | undefined, CtrlExecError<'store_failed'>> {
  const { registry, settings } = context;
  return safeTry<string | undefined, CtrlExecError<'store_failed'>>(async function* () {
    // As it is stored now: it may have signed something since the request was made.
    const known = yield* registry.findByKey(spkiDigest(context, peer));
    if (!known) return ok('the answer is not signed');
    const { name, standing } = known;
    if (!mayAnswerUnsigned(known, settings.allowLegacyAgents))
      return ok(
        standing.speaks === 'signed'
          ? `the answer is not signed, and ${name} has signed before: edit-agent ${name} --legacy, if it is a legacy agent again`
          : `the answer is not signed, and allow_legacy_agents does not name ${name}`,
      );
    const change: StandingChange = { speaks: 'unsigned', ...(trusts !== undefined && { trusts: [trusts] }) };
    yield* noted(
      context,
      confirmed(context, known, peer).andThen(() => registry.note(name, change)),
    );
    return ok(undefined);
  });
}
