import type { HostResult } from '../../../domain/runs/host-result.js';
import type { DispatcherContext } from '../context.js';

/** Milliseconds for which results are gathered, and how many: a host that has ended is not locked until the slowest has. */
const gathering = 250;
const most = 100;

/** Records the hosts of a run as they end: of one host at once, of several in batches. */
export function settling({ clock, runStore }: DispatcherContext, reqid: string, hosts: number) {
  const unrecorded: string[] = [];
  let waiting: HostResult[] = [];
  let cancel = () => {};
  let writing: Promise<void> = Promise.resolve();

  const flush = (left?: 'left') => {
    cancel();
    const batch = waiting;
    waiting = [];
    writing = writing.then(async () => {
      if (batch.length === 0 && !left) return;
      const settled = await runStore.settle(reqid, batch, clock.now(), left);
      if (settled.isErr()) unrecorded.push(settled.error.message);
    });
    // Told by `left`: a store that throws is no rejection that nobody handles.
    writing.catch(() => {});
    return writing;
  };

  return {
    /** What its agent lacks now is no part of how a run ended. */
    add({ revocationsPendingSince: _, ...result }: HostResult): void {
      waiting.push(result);
      if (hosts === 1) return;
      if (waiting.length >= most) void flush();
      else if (waiting.length === 1) cancel = clock.after(gathering, () => void flush());
    },
    /** Nobody waits for agents any more. Gives what could not be recorded, one line each. */
    async left(): Promise<readonly string[]> {
      await flush('left');
      return unrecorded;
    },
  };
}
