import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { type AgentRunKey, type AgentRuns, agentRunCapacity, type KnownRun } from '../../ports/agent-runs.js';

const keyOf = ({ owner, reqid }: AgentRunKey): string => JSON.stringify([owner, reqid]);

/** The runs of an agent, for as long as the process lives. `close` changes nothing. */
export const memoryAgentRuns = (
  options: {
    readonly capacity?: number;
    /** Bytes of answers in all. Default: 256 MiB. */
    readonly answerBytes?: number;
  } = {},
): AgentRuns => {
  const { capacity = agentRunCapacity, answerBytes = 256 * 1024 * 1024 } = options;
  const runs = new Map<string, KnownRun>();
  /** In the order in which they came. */
  const answers = new Map<string, Uint8Array>();
  let total = 0;

  const drop = (key: string) => {
    total -= answers.get(key)?.byteLength ?? 0;
    answers.delete(key);
  };
  const known = (key: string): KnownRun | undefined => {
    const run = runs.get(key);
    return run?.state === 'done' ? { ...run, answer: answers.get(key)?.slice() } : run;
  };

  return {
    begin: (of, script, startedAt) => {
      const key = keyOf(of);
      const run = known(key);
      if (run !== undefined) return okAsync({ kind: 'known', run });
      if (runs.size >= capacity) return okAsync({ kind: 'full' });
      runs.set(key, { state: 'running', script, startedAt });
      return okAsync({ kind: 'begun' });
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

    find: (key) => okAsync(known(keyOf(key))),

    purge: (startedBefore) => {
      let purged = 0;
      for (const [key, run] of runs) {
        if (run.state === 'running' || run.startedAt >= startedBefore) continue;
        runs.delete(key);
        drop(key);
        purged += 1;
      }
      return okAsync(purged);
    },

    close: async () => undefined,
  };
};
