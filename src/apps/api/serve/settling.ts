import type { EventLog } from '../../../ports/event-log.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';

/** Milliseconds between two looks, about. */
const interval = 60_000;

/**
 * Has the ends of runs recorded that nobody has asked about, so that lists know them, and results are here before agents forget
 * them. One look after the other; several processes of one home may each do so.
 * @returns what ends it; a look that is under way turns to no further run
 */
export function keepSettled({
  dispatcher,
  events,
}: {
  readonly dispatcher: () => Pick<Dispatcher, 'settleRuns'>;
  readonly events: EventLog;
}): () => void {
  const stopping = new AbortController();
  let timer: NodeJS.Timeout;
  const arm = () => {
    // Processes that were started together do not stay together.
    timer = setTimeout(() => void look(), interval * (0.9 + Math.random() * 0.2));
  };
  const look = async () => {
    const looked = await dispatcher().settleRuns({ signal: stopping.signal });
    if (stopping.signal.aborted) return;
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
