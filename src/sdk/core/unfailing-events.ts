import type { EventLog } from '../../ports/event-log.js';

/**
 * The same log, whose `emit` never throws. An adapter that throws breaks its contract; the event is lost, and there is
 * nowhere left to say so. The run, renewal or pairing that it tells of goes on.
 */
export const unfailing = (log: EventLog): EventLog => ({
  emit: (event) => {
    try {
      log.emit(event);
    } catch {
      // See above.
    }
  },
});
