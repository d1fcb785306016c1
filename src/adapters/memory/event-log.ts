import type { LogEvent } from '../../domain/core/event.js';
import type { EventLog } from '../../ports/event-log.js';

/** Keeps every event, in order, as it was when it was emitted. */
export const memoryEventLog = (): EventLog & { readonly events: LogEvent[] } => {
  const events: LogEvent[] = [];
  return {
    events,
    emit(event) {
      events.push(structuredClone(event));
    },
  };
};
