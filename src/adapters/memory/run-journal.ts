import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { replayWindow } from '../../domain/protocol/replay-window.js';
import type { RunResult } from '../../domain/protocol/run-messages.js';
import {
  type AgentRunKey,
  agentRunCapacity,
  type KnownRun,
  nonceCapacity,
  type RunJournal,
  voidCapacity,
  voidLife,
} from '../../ports/run-journal.js';

const keyOf = ({ owner, reqid }: AgentRunKey): string => JSON.stringify([owner, reqid]);

/** The journal of an agent for as long as the process lives. `close` changes nothing. */
export const memoryRunJournal = (
  options: {
    /** Whether there were no earlier processes, of which it would know nothing. Default: true. */
    readonly complete?: boolean;
    /** Live nonces. */
    readonly nonces?: number;
    /** Runs and voids. */
    readonly capacity?: number;
    /** Bytes of results in all, as JSON. Default: 256 MiB. */
    readonly resultBytes?: number;
    /** Voids of one owner. Default: 8,192. */
    readonly voids?: number;
    /** Milliseconds on a clock that never goes back. Default: the process's. */
    readonly monotonic?: () => number;
  } = {},
): RunJournal => {
  const { capacity = agentRunCapacity, resultBytes = 256 * 1024 * 1024, voids = voidCapacity } = options;
  const { monotonic = () => performance.now(), nonces = nonceCapacity } = options;
  let { complete = true } = options;
  let seen = replayWindow(nonces);
  const runs = new Map<string, KnownRun>();
  /** Whose each is, and when it was entered, on the monotonic clock. */
  const entries = new Map<string, { readonly owner: string; readonly at: number }>();
  const openedAt = monotonic();
  /** When the youngest claim was made that each owner has lost. */
  const forgotten = new Map<string, number>();
  /** In the order in which they came. */
  const results = new Map<string, { readonly result: RunResult; readonly bytes: number }>();
  let total = 0;

  const drop = (key: string) => {
    total -= results.get(key)?.bytes ?? 0;
    results.delete(key);
  };
  const known = <Run extends KnownRun>(key: string, run: Run): Run =>
    run.state === 'done' ? { ...run, result: results.get(key)?.result } : run;
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
    complete: () => okAsync(complete),

    begin: () => {
      seen = replayWindow(nonces);
      complete = true;
      return okAsync(undefined);
    },

    claim: ({ nonce, run: asked }, now) => {
      if (nonce !== undefined) {
        const digest = JSON.stringify([nonce.keyid, nonce.nonce]);
        const verdict = seen.enter({ digest, owner: nonce.keyid }, nonce.until, now);
        if (verdict === 'replayed') return okAsync({ kind: verdict });
        if (verdict === 'full') return okAsync({ kind: verdict, of: 'requests' });
      }
      if (asked === undefined) return okAsync({ kind: 'begun' });
      const key = keyOf(asked);
      const run = runs.get(key);
      if (run !== undefined) return okAsync({ kind: 'known', run: known(key, run) });
      if (isFull(asked.owner, 'running', voids)) return okAsync({ kind: 'full', of: 'runs' });
      enter(key, asked.owner, { state: 'running', script: asked.script, startedAt: now });
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

    end: (of, finishedAt, result) => {
      const key = keyOf(of);
      const run = runs.get(key);
      if (run?.state !== 'running') {
        const reason = { path: 'memory', operation: 'end', reason: 'ENOENT' };
        return errAsync(failure('file_failed', `no run ${of.reqid} is running`, reason));
      }
      const { script, startedAt } = run;
      runs.set(key, { state: 'done', script, startedAt, finishedAt, result: undefined });
      const bytes = result === undefined ? 0 : JSON.stringify(result).length;
      if (result === undefined || bytes > resultBytes) return okAsync(undefined);
      results.set(key, { result, bytes });
      total += bytes;
      for (const oldest of results.keys()) {
        if (total <= resultBytes) break;
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
