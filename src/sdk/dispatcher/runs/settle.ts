import { ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { mayBeLearnt } from '../../../domain/runs/host-result.js';
import { isTooMuch, progressOf } from '../../../domain/runs/progress.js';
import { can } from '../../../domain/trust/abilities.js';
import type { DispatcherContext } from '../context.js';
import { questionAbout } from './lookup.js';
import { ask } from './status.js';

/** What a look at runs without a known end has brought. */
export interface SettledRuns {
  /** Ids of runs whose end is now recorded, on every host. */
  readonly settled: readonly string[];
  /** Runs that could not be looked at; the next look tries again. */
  readonly failed: readonly { readonly reqid: string; readonly reason: string }[];
}

/** Milliseconds for which whoever has started a run is left to hear its end. */
const youngest = 30_000;

/** Runs of one look, the latest first. */
const most = 200;

/**
 * Asks agents about runs whose end is not known, as their status does, and records what they say. The hook is not asked: nobody is
 * told anything. An agent that cannot be asked is asked once in a look. Hosts that have more to say than is taken of them, hosts that are not registered, and legacy agents,
 * which count connections, are asked only when somebody wants to know the status.
 */
export function settleRuns(
  context: DispatcherContext,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): ResultAsync<SettledRuns, CtrlExecError> {
  const { clock, registry, runStore } = context;
  return safeTry<SettledRuns, CtrlExecError>(async function* () {
    const open = yield* runStore.list({
      open: true,
      startedBefore: clock.now() - youngest,
      now: clock.now(),
      limit: most,
    });
    if (open.length === 0) return ok({ settled: [], failed: [] });
    const signing = (yield* registry.list()).filter(({ standing }) => can(standing, 'frequent-requests'));
    const askable = new Set(signing.map(({ name }) => name));
    const settled: string[] = [];
    const failed: { reqid: string; reason: string }[] = [];
    for (const { reqid } of open) {
      if (signal?.aborted) break;
      const record = yield* runStore.find(reqid);
      if (!record) continue;
      const before = progressOf(record, clock.now());
      const due = before.results.filter((each) => askable.has(each.host) && !isTooMuch(each));
      const asked = due.map(({ host }) => host).filter((host) => before.pending.includes(host));
      const pending = new Set(before.pending);
      const found = { record, question: questionAbout(record, 'status') };
      const looked = await ask(context, found, before, asked, { ...(signal && { signal }) }, (now) => {
        if (now.fetchError !== undefined) askable.delete(now.host);
        if (!mayBeLearnt(now)) pending.delete(now.host);
      });
      if (looked.isErr()) failed.push({ reqid, reason: looked.error.message });
      else if (pending.size === 0) settled.push(reqid);
    }
    return ok({ settled, failed });
  });
}
