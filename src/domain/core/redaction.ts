import type { LogEvent } from './event.js';
import { printable } from './names.js';

const redacted = '[token]';

/**
 * A peer's text, as `printable` shows it, without a token that the peer may have put into it: neither whole nor the
 * beginning of one where the text was cut. A peer that encodes the token in another way is not found out.
 */
export function withoutToken(text: string, token: string): string {
  if (token === '') return text;
  const shown = printable(token, Number.POSITIVE_INFINITY);
  const whole = text.replaceAll(shown, redacted).replaceAll(token, redacted);
  if (!whole.endsWith('…')) return whole;
  const rest = whole.slice(0, -1);
  for (let length = Math.min(shown.length, rest.length); length > 0; length -= 1)
    if (rest.endsWith(shown.slice(0, length))) return `${rest.slice(0, -length)}${redacted}…`;
  return whole;
}

/** An event without it in any of its fields. */
export function withoutTokenIn(event: LogEvent, token: string): LogEvent {
  const fields = Object.entries(event.fields).map(([name, value]) => [
    name,
    typeof value === 'string' ? withoutToken(value, token) : value,
  ]);
  return { ...event, fields: Object.fromEntries(fields) } as LogEvent;
}
