import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import {
  type AgentRunKey,
  type AgentRuns,
  agentRunCapacity,
  type KnownRun,
  voidCapacity,
  voidLife,
} from '../../ports/agent-runs.js';

const keyOf = ({ owner, reqid }: AgentRunKey): string => JSON.stringify([owner, reqid]);

/** The runs of an agent, for as long as the process lives. `close` changes nothing. */
export const memoryAgentRuns = (
  options: {
    readonly capacity?: number;
    /** Bytes of answers in all. Default: 256 MiB. */
    readonly answerBytes?: number;
    /** Voids of one owner. Default: 8,192. */
    readonly voids?: number;
    /** Milliseconds on a clock that never goes back. Default: the process's. */
    readonly monotonic?: () => number;
  } = {},
): AgentRuns => {
  const { capacity = agentRunCapacity, answerBytes = 256 * 1024 * 1024, voids = voidCapacity } = options;
  const { monotonic = () => performance.now() } = options;
  const runs = new Map<string, KnownRun>();
  /** Whose each is, and when it was entered, on the monotonic clock. */
  const entries = new Map<string, { readonly owner: string; readonly at: number }>();
  const openedAt = monotonic();
  /** When the youngest claim was made that each owner has lost. */
  const forgotten = new Map<string, number>();
  /** In the order in which they came. */
  const answers = new Map<string, Uint8Array>();
  let total = 0;

  const drop = (key: string) => {
    total -= answers.get(key)?.byteLength ?? 0;
    answers.delete(key);
  };
  const known = <Run extends KnownRun>(key: string, run: Run): Run =>
    run.state === 'done' ? { ...run, answer: answers.get(key)?.slice() } : run;
  const enter = (key: string, owner: string, run: KnownRun) => {
    runs.set(key, run);
    entries.set(key, { owner, at: monotonic() });
  };
  const isFull = (owner: string, state: KnownRun['state'], limit: number) => {
    const own = [...entries].filter(([, entry]) => entry.owner === owner);
    if (runs.size >= capacity || own.length >= capacity / 2) return true;
    return state === 'void' && own.filter(([key]) => runs.get(key)?.state === 'void').length >= limit;
  };

  return {
    begin: (of, script, startedAt) => {
      const key = keyOf(of);
      const run = runs.get(key);
      if (run !== undefined) return okAsync({ kind: 'known', run: known(key, run) });
      if (isFull(of.owner, 'running', voids)) return okAsync({ kind: 'full' });
      enter(key, of.owner, { state: 'running', script, startedAt });
      return okAsync({ kind: 'begun' });
    },

    settle: (of) => {
      const key = keyOf(of);
      const run = runs.get(key);
      if (run !== undefined && run.state !== 'void') return okAsync({ kind: 'known', run: known(key, run) });
      if (run === undefined && isFull(of.owner, 'void', voids)) return okAsync({ kind: 'full' });
      enter(key, of.owner, { state: 'void' });
      const since = Math.max(openedAt, forgotten.get(of.owner) ?? openedAt);
      return okAsync({ kind: 'void', completeFor: monotonic() - since });
    },

    end: (of, finishedAt, answer) => {
      const key = keyOf(of);
      const run = runs.get(key);
      if (run?.state !== 'running') {
        const reason = { path: 'memory', operation: 'end', reason: 'ENOENT' };
        return errAsync(failure('file_failed', `no run ${of.reqid} is running`, reason));
      }
      const { script, startedAt } = run;
      runs.set(key, { state: 'done', script, startedAt, finishedAt, answer: undefined });
      if (answer.byteLength > answerBytes) return okAsync(undefined);
      answers.set(key, answer.slice());
      total += answer.byteLength;
      for (const oldest of answers.keys()) {
        if (total <= answerBytes) break;
        drop(oldest);
      }
      return okAsync(undefined);
    },

    find: (of) => {
      const key = keyOf(of);
      const run = runs.get(key);
      return okAsync(run && known(key, run));
    },

    purge: (startedBefore) => {
      let purged = 0;
      for (const [key, run] of runs) {
        const { owner, at } = entries.get(key) ?? { owner: '', at: openedAt };
        if (run.state === 'void' ? monotonic() - at <= voidLife : run.startedAt >= startedBefore) continue;
        if (run.state === 'running') continue;
        if (run.state !== 'void') forgotten.set(owner, Math.max(forgotten.get(owner) ?? at, at));
        runs.delete(key);
        entries.delete(key);
        drop(key);
        purged += 1;
      }
      return okAsync(purged);
    },

    close: async () => undefined,
  };
};
