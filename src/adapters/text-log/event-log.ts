import type { EventLevel, EventRecord } from '../../domain/core/event.js';
import { logLine } from '../../domain/core/log-line.js';
import type { EventLog } from '../../ports/event-log.js';

/** Takes any event, so also those of the event log port. */
export interface RecordLog extends EventLog {
  emit(event: EventRecord): void;
}

/**
 * Events as `ACTION=… KEY=value` lines (wire-protocol 1.9), each given to `write` without its line end. No time: journald
 * and syslog put it in front. A `write` that throws loses that line and nothing else.
 */
export const lineEventLog = (write: (line: string, level: EventLevel) => void): RecordLog => ({
  emit(event) {
    try {
      write(logLine(event), event.level ?? 'info');
    } catch {
      // There is no other place to say it.
    }
  },
});
