import { ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError, Lock } from '../../../domain/core/errors.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { askAbilities } from '../fleet/abilities.js';
import type { Asking, Prepared } from '../fleet/ask.js';
import type { Addressed } from '../trust/agent-target.js';
import { questionAbout } from './lookup.js';
import { look } from './status.js';

/** Hosts that are asked before a run is refused for their locks; of more, somebody has to ask. */
const mostAsked = 64;

/**
 * Looks whether locks that are in the way still have a reason: runs for whose agents nobody waits are asked about, and agents
 * that allow several runs of a script at a time say how many. Gives the hosts as they are known then.
 */
export function clearTheWay(
  context: DispatcherContext,
  { hosts, identity }: Prepared,
  conflicts: readonly Lock[],
  asking: Pick<Asking, 'port' | 'signal'>,
): ResultAsync<readonly Addressed[], CtrlExecError<'store_failed'>> {
  const { runStore, settings } = context;
  const { port, signal } = asking;
  const how = { ...(port !== undefined && { port }), ...(signal && { signal }) };
  return safeTry<readonly Addressed[], CtrlExecError<'store_failed'>>(async function* () {
    const inTheWay = new Set(conflicts.map(({ host }) => host));
    if (inTheWay.size > mostAsked) return ok(hosts);
    for (const runId of new Set(conflicts.map((lock) => lock.runId))) {
      const record = yield* runStore.find(runId);
      if (!record || record.underWay) continue;
      // An agent that cannot be asked leaves its lock as it is.
      await look(context, { record, question: questionAbout(record, 'status') }, how, (host) =>
        inTheWay.has(host),
      );
    }
    const latest = async (each: Addressed): Promise<Addressed> => {
      const { host, record } = each;
      if (!inTheWay.has(host) || record?.standing.speaks !== 'signed') return each;
      const told = await askAbilities(context, identity, each, signal);
      return told.isOk()
        ? { ...each, record: { ...record, standing: { ...record.standing, ...told.value } } }
        : each;
    };
    return ok(await parallel(hosts, settings.maxParallel, latest));
  });
}
