import type { EventRecord } from './event.js';

/**
 * UTF-16 units of one rendered value, quotes not counted. A reader such as journald breaks a line at 48 KiB, and what follows
 * a break would stand as a line of its own, so no peer may make a line that long.
 */
const valueLimit = 1_000;

/** Controls (C0, DEL, C1), format characters (zero width, direction), line separators, lone surrogates. */
const escaped = /["\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/u;
const needsQuotes = /[\s"\\\p{Cc}\p{Cf}\p{Z}\p{Surrogate}]/u;

const short: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

const escapeCharacter = (character: string): string => {
  if (/* defence: log-values-are-escaped */ !escaped.test(character)) return character;
  return short[character] ?? `\\u{${character.codePointAt(0)?.toString(16)}}`;
};

const renderValue = (value: string): string => {
  if (value === '') return '""';
  if (value.length <= valueLimit && !needsQuotes.test(value)) return value;
  let text = '';
  let taken = 0;
  for (const character of value) {
    const rendered = escapeCharacter(character);
    if (text.length + rendered.length > valueLimit) return `"${text}\\+${value.length - taken}"`;
    text += rendered;
    taken += character.length;
  }
  return `"${text}"`;
};

const renderKey = (name: string): string => name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_');

/**
 * One event as one line without its end: `ACTION=<name>` first, then the other keys, upper-cased, in alphabetical order.
 *
 * A value stands bare, or in double quotes where it is empty or holds white space or anything that must be escaped:
 * `\"`, `\\`, `\n`, `\r`, `\t`, every other control, format or separator character and lone surrogate as `\u{hex}`. A
 * value of more than 1,000 characters is cut; `\+N` at its end tells how many (UTF-16 units) are missing.
 */
export function logLine(event: EventRecord): string {
  const fields = Object.entries(event.fields ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [[renderKey(name), String(value)] as const],
  );
  const others = fields
    .filter(([key]) => key !== 'ACTION')
    .sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
  return [['ACTION', event.action] as const, ...others]
    .map(([key, value]) => `${key}=${renderValue(value)}`)
    .join(' ');
}
