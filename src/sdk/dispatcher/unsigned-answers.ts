import { ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import type { AgentRecord } from '../../domain/agent-record.js';
import { mayAnswerUnsigned } from '../../domain/agent-standing.js';
import type { Certificate } from '../../domain/certificate.js';
import type { CtrlExecError } from '../../domain/errors.js';
import { spkiDigest } from './agent-key.js';
import type { DispatcherContext } from './context.js';

type Failed = CtrlExecError<'store_failed'>;

/** What could not be noted is noted at the next answer; the answer stands. */
const noted = (
  { events, registry }: DispatcherContext,
  name: string,
  speaks: 'signed' | 'unsigned',
): ResultAsync<void, never> =>
  registry
    .note(name, { speaks })
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
  return context.registry
    .findByKey(spkiDigest(context, peer))
    .orElse(() => ok(undefined))
    .andThen((known) =>
      known === undefined || known.standing.speaks === 'signed'
        ? okAsync(undefined)
        : noted(context, known.name, 'signed').map(() =>
            context.events.emit({ action: 'signature-required', fields: { host: known.name } }),
          ),
    );
}

/** Why an answer without a signature cannot be accepted of this peer; undefined: it is a legacy agent that may. */
export function whySigned(
  context: DispatcherContext,
  peer: Certificate,
): ResultAsync<string | undefined, Failed> {
  const { registry, settings } = context;
  return safeTry<string | undefined, Failed>(async function* () {
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
    if (standing.speaks === undefined) yield* noted(context, name, 'unsigned');
    return ok(undefined);
  });
}
