import type { HostResult } from '../../../domain/runs/host-result.js';
import type { DispatcherContext } from '../context.js';
import { recordFailed } from '../trust/record-failed.js';

/** Milliseconds for which results are gathered, and how many: a host that has ended is not locked until the slowest has. */
const gathering = 250;
const most = 100;
/** Characters of output that are gathered. */
const mostOutput = 1024 * 1024;

/** Records the hosts of a run as they end: of one host at once, of several in batches. What the store cannot take is logged. */
export type Records = ReturnType<typeof settling>;

export function settling(context: DispatcherContext, reqid: string, hosts: number) {
  const { clock, runStore } = context;
  const unrecorded: string[] = [];
  let waiting: HostResult[] = [];
  let size = 0;
  let cancel = () => {};
  let writing: Promise<void> = Promise.resolve();

  const flush = (left?: 'left') => {
    cancel();
    const batch = waiting;
    waiting = [];
    size = 0;
    writing = writing.then(async () => {
      if (batch.length === 0 && !left) return;
      const settled = await runStore.settle(reqid, batch, clock.now(), left);
      if (settled.isOk()) return;
      unrecorded.push(settled.error.message);
      recordFailed(context, settled.error.message, reqid);
    });
    // Told at the end: a store that throws is no rejection that nobody handles.
    writing.catch(() => {});
    return writing;
  };

  return {
    /**
     * Resolves at once, or, where much waits, when that is recorded. What its agent lacks now is no part of how a run ended.
     */
    async add({ revocationsPendingSince: _, ...result }: HostResult): Promise<void> {
      waiting.push(result);
      size += result.stdout.length + result.stderr.length;
      if (hosts === 1) return;
      if (size >= mostOutput) await flush();
      else if (waiting.length >= most) void flush();
      else if (waiting.length === 1) cancel = clock.after(gathering, () => void flush());
    },
    /** Gives what could not be recorded, one line each. @param left nobody waits for agents any more */
    async settled(left?: 'left'): Promise<readonly string[]> {
      await flush(left);
      return unrecorded;
    },
    /** The work after which nobody waits for agents any more, whatever it throws: whoever asks next settles the run then. */
    async whole<T>(work: () => Promise<T>) {
      try {
        const outcome = await work();
        return { outcome, unrecorded: await this.settled('left') };
      } catch (bug) {
        await runStore.settle(reqid, [], clock.now(), 'left');
        throw bug;
      }
    },
  };
}
