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

/** The records of the run with this id, or else of those whose ids begin with these 8 digits or more: ten of them at most. */
function recordsOf(
  { runStore }: DispatcherContext,
  id: string,
): ResultAsync<readonly RunRecord[], CtrlExecError<'store_failed'>> {
  return safeTry(async function* () {
    const exact = yield* runStore.find(id);
    if (exact) return ok([exact]);
    const prefix = id.toLowerCase();
    const records: RunRecord[] = [];
    for (const each of /^[0-9a-f]{8,16}$/.test(prefix) ? yield* runStore.idsWith(prefix) : []) {
      const record = yield* runStore.find(each);
      if (record) records.push(record);
    }
    return ok(records);
  });
}

/**
 * Finds a run by its id, or by a beginning of it that is unique among the runs that the hook lets the caller ask about. The hook is told
 * whose each is (wire-protocol 1.6).
 */
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
    const found: Found[] = [];
    let refused: LookupFailure | undefined;
    for (const record of yield* recordsOf(context, reqid)) {
      const question = questionAbout(record, action);
      // defence: lookup-is-authorised
      const allowed = await authorise(context, question, caller, withoutHook);
      if (allowed.isOk()) found.push({ record, question });
      else refused ??= allowed.error;
    }
    const [only] = found;
    if (only === undefined)
      return err(refused ?? failure('run_unknown', `no result for reqid ${reqid}`, { id: reqid }));
    if (found.length === 1) return ok(only);
    // Whoever may know of one run only learns of no other.
    const [id, matches] = [reqid.toLowerCase(), found.map(({ record }) => record.reqid)];
    const message = `${id} names ${matches.length} runs: give more digits`;
    return err(failure('id_ambiguous', message, { id, matches }));
  });
}
