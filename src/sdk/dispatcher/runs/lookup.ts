import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { isReqid, printable } from '../../../domain/core/names.js';
import { hostsOf, type RunRecord } from '../../../domain/runs/record.js';
import type { DispatcherContext } from '../context.js';
import type { Asking } from '../fleet/ask.js';
import { authorise, type Question } from '../fleet/authorise.js';

export type LookupFailure = CtrlExecError<
  'invalid_argument' | 'run_unknown' | 'id_ambiguous' | 'denied' | 'store_failed'
>;

/** A run that may be asked about, and what the hook was asked about it. */
export interface Found {
  readonly record: RunRecord;
  readonly question: Question;
}

/** What the hook is asked about a run. */
export function questionAbout(record: RunRecord, action: 'status' | 'cancel'): Question {
  const { reqid, script, username, sourceIp } = record;
  const run = { reqid, submitter: username, submitterIp: sourceIp };
  return { action, script, hosts: hostsOf(record), run };
}

/** The record of the run with this id, or with the one id that begins with these 8 digits or more. */
function recordOf(
  { runStore }: DispatcherContext,
  id: string,
): ResultAsync<RunRecord, CtrlExecError<'run_unknown' | 'id_ambiguous' | 'store_failed'>> {
  return safeTry(async function* () {
    const exact = yield* runStore.find(id);
    if (exact) return ok(exact);
    const prefix = id.toLowerCase();
    const ids = /^[0-9a-f]{8,16}$/.test(prefix) ? yield* runStore.idsWith(prefix) : [];
    const [only] = ids;
    if (ids.length > 1)
      return err(
        failure('id_ambiguous', `${prefix} names ${ids.length} runs: give more digits`, {
          id: prefix,
          matches: ids,
        }),
      );
    const record = only === undefined ? undefined : yield* runStore.find(only);
    return record ? ok(record) : err(failure('run_unknown', `no result for reqid ${id}`, { id }));
  });
}

/** Finds a run by its id, or a unique beginning of it, and asks the hook, which is told whose it is (wire-protocol 1.6). */
export function lookUp(
  context: DispatcherContext,
  action: 'status' | 'cancel',
  reqid: string,
  { caller = {}, withoutHook = 'allow' }: Asking,
): ResultAsync<Found, LookupFailure> {
  return safeTry<Found, LookupFailure>(async function* () {
    if (!isReqid(reqid)) {
      const reason = `"${printable(reqid, 80)}" is not the id of a run, expected 16 hex digits, or the first 8 or more of them`;
      return err(failure('invalid_argument', reason, { field: 'reqid', reason }));
    }
    const record = yield* recordOf(context, reqid);
    const question = questionAbout(record, action);
    // defence: lookup-is-authorised
    yield* authorise(context, question, caller, withoutHook);
    return ok({ record, question });
  });
}
