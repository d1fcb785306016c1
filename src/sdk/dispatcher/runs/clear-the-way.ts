import { ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError, Lock } from '../../../domain/core/errors.js';
import { hostsOf } from '../../../domain/runs/record.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { askAbilities } from '../fleet/abilities.js';
import type { Asking, Prepared } from '../fleet/ask.js';
import type { Addressed } from '../trust/agent-target.js';
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
  const { registry, runStore, settings } = context;
  const { port, signal } = asking;
  const how = { ...(port !== undefined && { port }), ...(signal && { signal }) };
  return safeTry<readonly Addressed[], CtrlExecError<'store_failed'>>(async function* () {
    const inTheWay = new Set(conflicts.map(({ host }) => host));
    if (inTheWay.size > mostAsked) return ok(hosts);
    for (const runId of new Set(conflicts.map((lock) => lock.runId))) {
      const record = yield* runStore.find(runId);
      if (!record || record.underWay) continue;
      const { reqid, script, username, sourceIp } = record;
      const run = { reqid, submitter: username, submitterIp: sourceIp };
      const question = { action: 'status', script, hosts: hostsOf(record), run };
      // An agent that cannot be asked leaves its lock as it is.
      await look(context, { record, question }, how, (host) => inTheWay.has(host));
    }
    const asked = hosts.filter(
      ({ host, record }) => inTheWay.has(host) && record?.standing.speaks === 'signed',
    );
    await parallel(asked, settings.maxParallel, (each) => askAbilities(context, identity, each, signal));
    if (asked.length === 0) return ok(hosts);
    const latest = new Map((yield* registry.list()).map((record) => [record.name, record]));
    return ok(
      hosts.map((each) => {
        const record = each.record && latest.get(each.record.name);
        return record ? { ...each, record } : each;
      }),
    );
  });
}
