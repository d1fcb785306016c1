import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { goesOn, hostError, notBegun, notKnown } from '../../../domain/runs/host-ends.js';
import type { HostResult } from '../../../domain/runs/host-result.js';
import { afterNews } from '../../../domain/runs/progress.js';
import type { DispatcherContext } from '../context.js';
import type { Addressed } from '../trust/agent-target.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { askRecord } from './ask-record.js';

/** Milliseconds that an agent has to say what became of a run whose answer was given up. */
const lastQuestion = 5000;

/** Whether the agent may have begun the script although this was the outcome: then it is asked. */
const mayHaveBegun = (error: CtrlExecError & { readonly sent?: true }): boolean =>
  error.code === 'refused' ? error.status === 409 : error.code !== 'denied' && error.sent === true;

const notKept = (text: string): CtrlExecError =>
  failure(
    'forgotten',
    `${text}; a legacy agent keeps no record of a run that is waited for, so nobody can say whether it has run`,
    {},
  );

/**
 * What a host comes to whose answer did not come, or is none. Where the request may have reached it, its agent is asked once, and its
 * answer decides: it may run, have ended, or never begin.
 */
export async function givenUp(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  before: HostResult,
  error: CtrlExecError & { readonly sent?: true },
  mode: 'sync' | 'async',
): Promise<HostResult> {
  const { clock } = context;
  if (!mayHaveBegun(error)) return { ...before, ...notBegun(error), settledAt: clock.now() };
  const { sent: _, ...plain } = error;
  const why = plain as CtrlExecError;
  const unknown: HostResult = { ...before, ...notKnown(why) };
  // It counts connections, and keeps no records of runs that were waited for.
  if (addressed.record?.standing.speaks === 'unsigned')
    return mode === 'async' ? unknown : { ...unknown, failure: notKept(hostError(why)) };
  const news = await askRecord(context, identity, addressed, {
    reqid: before.reqid,
    claim: true,
    answerTimeout: lastQuestion,
  });
  const { fetchError, ...after } = afterNews(unknown, news, { underWay: false }, clock.now());
  if (fetchError !== undefined) return unknown;
  // It runs, and nobody waits for it.
  if (after.state === 'running') return { ...after, ...goesOn(why) };
  if (why.code === 'aborted' && after.state === 'unreachable') {
    const reason = 'stopped by the caller before it began';
    return { ...after, state: 'skipped', error: reason, failure: failure('skipped', reason, { reason }) };
  }
  return after.state === 'unknown' ? { ...after, error: hostError(why) } : after;
}
