import { idleInterval } from '../../../domain/protocol/output-stream.js';
import { readTimeout } from '../../../domain/runs/host-ends.js';
import { type HostResult, knownFor } from '../../../domain/runs/host-result.js';
import type { RunMode } from '../../../domain/runs/record.js';
import type { RunStore } from '../../../ports/run-store.js';
import type { CallError, CallOptions } from '../../protocol/client.js';
import type { OutputPiece as Piece } from '../../protocol/followed-answer.js';
import type { DispatcherContext } from '../context.js';
import { patience, type ScriptRequest } from './request.js';

/** A piece of what a script writes. It may end in the middle of a line, or of a character. */
export interface OutputPiece extends Piece {
  /** The registry name, or the host argument as given. */
  readonly host: string;
}

/** Who follows a run. */
export interface Following {
  /**
   * Called with what the scripts write as it comes; of one host the next piece is asked for when what this returns has resolved,
   * and a slow one slows the script. Nothing of it is authenticated before the host's result is there: where that is `unknown`
   * nobody vouches for what was given. A host that does not stream (a legacy agent) gives its result alone. Of each host 1 GiB
   * is given; what is written after that is left out, and the result comes all the same. A host is followed for its `timeout` and
   * 5 s, without one for 24 hours, and for 10 s after `cancel`; then its agent is asked once how the run stands.
   */
  readonly onOutput?: (piece: OutputPiece) => void | PromiseLike<void>;
  /**
   * Nobody follows the run any more. A host that streams is asked once how the run stands there, which is `running` in its result;
   * `status` and `settleRuns` fetch the end. All others are waited for as in a run without `onOutput`.
   */
  readonly detachSignal?: AbortSignal;
}

/** Bytes of one host's output that are handed on. */
const mostOutput = 1024 ** 3;

/** Milliseconds for which a host is followed whose script may take any time: after that its agent need not know it. */
const longest = knownFor;

/** Milliseconds of silence that are borne of a host that is followed, at least: it says something every 15 s. */
const leastSilence = 3 * idleInterval;

/** Milliseconds within which a script ends that is cancelled: it has 5 s. */
const afterCancel = 10_000;

/** How each host that is followed in this process is given up once it was cancelled, by its run and name. */
const followed = new WeakMap<RunStore, Map<string, () => void>>();
const keyOf = ({ reqid, host }: Pick<HostResult, 'reqid' | 'host'>) => `${reqid} ${host}`;

/** A run was cancelled on a host: whoever follows it here does so for a little while only. */
export const cancelled = ({ runStore }: DispatcherContext, which: Pick<HostResult, 'reqid' | 'host'>): void =>
  followed.get(runStore)?.get(keyOf(which))?.();

/** How the answer to a run is waited for. */
interface Limits {
  readonly options: CallOptions;
  /** The error of the call; the time limit, if that was passed. */
  late(error: CallError): CallError;
  /** The call has ended. */
  over(): void;
}

/** The limits of an answer that may be followed. A piece that comes says that it is one. */
export function following(
  context: DispatcherContext,
  which: Pick<HostResult, 'reqid' | 'host'>,
  request: Pick<ScriptRequest, 'timeout' | 'signal'> & Following,
  mode: RunMode,
): Limits {
  const { clock, runStore } = context;
  const { timeout, signal, onOutput, detachSignal } = request;
  const plain = patience(context, mode === 'sync' ? timeout : undefined);
  if (!onOutput || detachSignal?.aborted)
    return { options: { answerTimeout: plain, signal }, late: (error) => error, over: () => {} };

  const ending = new AbortController();
  const done = new AbortController();
  let passed: number | undefined;
  let streams = false;
  let given = 0;
  const endAfter = (limit: number) => {
    const cancel = clock.after(limit, () => {
      passed ??= limit;
      ending.abort();
    });
    done.signal.addEventListener('abort', cancel);
  };
  endAfter(timeout === undefined ? longest : plain);
  const here = followed.get(runStore) ?? new Map<string, () => void>();
  followed.set(
    runStore,
    here.set(keyOf(which), () => endAfter(afterCancel)),
  );
  const detach = () => (streams ? ending.abort() : endAfter(plain));
  detachSignal?.addEventListener('abort', detach, { signal: done.signal });

  return {
    options: {
      answerTimeout: Math.max(plain, leastSilence),
      signal: signal ? AbortSignal.any([signal, ending.signal]) : ending.signal,
      onOutput: async (piece) => {
        streams = true;
        if (detachSignal?.aborted) ending.abort();
        else if (given < mostOutput) {
          given += piece.bytes.length;
          await onOutput({ host: which.host, ...piece });
        }
      },
    },
    late: (error) =>
      passed === undefined ? error : { ...readTimeout(passed), ...(error.sent && { sent: true }) },
    over() {
      done.abort();
      here.delete(keyOf(which));
    },
  };
}
