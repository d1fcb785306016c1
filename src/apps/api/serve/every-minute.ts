import type { EventLog } from '../../../ports/event-log.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';

/** Milliseconds between two looks, about. */
const interval = 60_000;

/**
 * Has the ends of runs recorded that nobody has asked about, so that lists know them, and results are here before agents forget
 * them; and offers the newest revocation list to agents that have not acknowledged it. One look after the other; several
 * processes of one home may each do so.
 * @returns what ends it; a look that is under way turns to no further run and no further agent
 */
export function lookEveryMinute({
  dispatcher,
  events,
}: {
  readonly dispatcher: () => Pick<Dispatcher, 'offerRevocations' | 'settleRuns'>;
  readonly events: EventLog;
}): () => void {
  const stopping = new AbortController();
  let timer: NodeJS.Timeout;
  const arm = () => {
    // Processes that were started together do not stay together.
    timer = setTimeout(() => void look(), interval * (0.9 + Math.random() * 0.2));
  };
  const look = async () => {
    const { signal } = stopping;
    const looks = await Promise.all([
      dispatcher().settleRuns({ signal }),
      dispatcher().offerRevocations({ signal }),
    ]);
    if (signal.aborted) return;
    for (const looked of looks)
      if (looked.isErr())
        events.emit({
          action: 'maintenance-failed',
          level: 'error',
          fields: { reason: looked.error.message },
        });
    arm();
  };
  arm();
  return () => {
    stopping.abort();
    clearTimeout(timer);
  };
}
