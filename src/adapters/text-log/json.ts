import type { EventLevel } from '../../domain/core/event.js';
import type { Clock } from '../../ports/clock.js';
import type { RecordLog } from './event-log.js';

/** What JSON leaves as it is but a terminal or a reader of lines may not: C1, format characters, line separators. */
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

const escapeUnits = (text: string): string =>
  Array.from({ length: text.length }, (_, index) => text.charCodeAt(index))
    .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
    .join('');

/**
 * Events as one JSON object a line: `time` (ISO 8601 UTC), `level`, `action`, then the fields under their own names.
 * Control and format characters are `\u` escapes. A `write` that throws loses that line and nothing else.
 */
export const jsonEventLog = (write: (line: string, level: EventLevel) => void, clock: Clock): RecordLog => ({
  emit(event) {
    try {
      const { action, level = 'info', fields } = event;
      const own = { time: new Date(clock.now()).toISOString(), level, action };
      write(JSON.stringify({ ...own, ...fields, ...own }).replaceAll(invisible, escapeUnits), level);
    } catch {
      // There is no other place to say it.
    }
  },
});
