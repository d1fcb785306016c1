import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../core/errors.js';
import { printable } from '../core/names.js';

/**
 * Reads `k=v,k2=v2`; white space around names and values is ignored, a value may be empty. An empty filter is an error,
 * for it would select everything.
 */
export function parseTagFilter(
  text: string,
): Result<Readonly<Record<string, string>>, CtrlExecError<'invalid_argument'>> {
  const refuse = (found: string, reason: string) =>
    err(failure('invalid_argument', `tags ${found}: ${reason}`, { field: 'tags', reason }));
  const tags = new Map<string, string>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    const key = part.slice(0, Math.max(0, equals)).trim();
    if (key === '' || key === '__proto__')
      return refuse(`"${printable(text, 80)}"`, 'expected key=value pairs separated by commas');
    if (tags.has(key)) return refuse(`"${printable(text, 80)}"`, `"${printable(key, 40)}" is named twice`);
    tags.set(key, part.slice(equals + 1).trim());
  }
  return ok(Object.fromEntries(tags));
}

/** Whether `tags` has every tag of the filter with just that value. */
export function matchesTags(
  tags: Readonly<Record<string, string>>,
  filter: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(filter).every(([key, value]) => Object.hasOwn(tags, key) && tags[key] === value);
}
