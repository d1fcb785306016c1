import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from './errors.js';

type Named = Result<string, CtrlExecError<'invalid_argument'>>;

/** Controls, format characters (bidirectional ones among them), what renders as nothing, line ends, lone surrogates. */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Cn}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const shortEscapes: ReadonlyMap<string, string> = new Map([
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
]);

function escaped(character: string): string {
  if (!unprintable.test(character)) return character;
  const hex = (character.codePointAt(0) ?? 0).toString(16);
  return shortEscapes.get(character) ?? (hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`);
}

/**
 * Makes any text safe to show in one line of a terminal, a log or a message: whatever could move the cursor, end the
 * line, reorder or hide text is shown as an escape (`\n`, `\u001b`). Printable text stays as it is, so the result of
 * this function passes through it unchanged.
 * @param limit UTF-16 code units of the result at most; what is cut ends in `…`
 */
export function printable(text: string, limit = 120): string {
  let whole = '';
  let cut = '';
  for (const character of text) {
    whole += escaped(character);
    if (whole.length <= limit - 1) cut = whole;
    if (whole.length > limit) return limit < 1 ? '' : `${cut}…`;
  }
  return whole;
}

function named(text: string, pattern: RegExp, field: string, what: string, expected: string): Named {
  if (pattern.test(text)) return ok(text);
  const reason = text === '' ? `is empty, expected ${expected}` : `expected ${expected}`;
  const found = text === '' ? `${what} ${reason}` : `"${printable(text)}" is not a ${what}: ${reason}`;
  return err(failure('invalid_argument', found, { field, reason }));
}

/**
 * The name of an agent in the form in which names are compared and stored (wire-protocol 2.1): lower case,
 * `^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`.
 */
export function agentName(text: string, field = 'name'): Named {
  const pattern = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;
  const expected = 'at most 64 letters, digits, ".", "_" or "-", with a letter or digit at either end';
  return named(text, pattern, field, 'host name', expected).map((name) => name.toLowerCase());
}

/**
 * Stands for the id of a dispatcher that is trusted by its serial alone: the file of a 0.8 agent (`ctrl-exec-serial`) holds one
 * serial and no id. No dispatcher may have this name.
 */
export const legacyDispatcherId = 'legacy';

/** The id of a dispatcher (wire-protocol 1.4): `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`, case kept, and not `legacy`. */
export function dispatcherId(text: string, field = 'dispatcher_id'): Named {
  // defence: no-dispatcher-is-named-legacy
  if (text === legacyDispatcherId) {
    const reason = `expected another id than "${legacyDispatcherId}", which stands for dispatchers that have none`;
    return err(
      failure('invalid_argument', `"${text}" cannot be a dispatcher id: ${reason}`, { field, reason }),
    );
  }
  const expected = 'at most 64 letters, digits, ".", "_" or "-", beginning with a letter or digit';
  return named(text, /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, field, 'dispatcher id', expected);
}

/** A dispatcher id made from a host name, whatever that holds; `dispatcher` when nothing of it can be used. */
export function dispatcherIdFromHostName(hostName: string): string {
  const usable = hostName.slice(0, 255).replace(/[^A-Za-z0-9._-]/g, '-');
  const id = usable.replace(/^[._-]+/, '').slice(0, 64);
  return id === '' || id === legacyDispatcherId ? 'dispatcher' : id;
}

/** The name of a script in an allowlist: `^[A-Za-z0-9_-]+$`, at most 255. */
export function scriptName(text: string, field = 'script'): Named {
  const expected = 'at most 255 letters, digits, "_" or "-"';
  return named(text, /^[A-Za-z0-9_-]{1,255}$/, field, 'script name', expected);
}

/**
 * A script as a caller names it: 1 to 255 characters that can be shown in one line. Whether there is such a script its agent says,
 * also of what can stand in no allowlist.
 */
export function askedScript(text: string, field = 'script'): Named {
  const expected = '1 to 255 printable characters';
  const fits = printable(text, Number.POSITIVE_INFINITY) === text && text.length <= 255;
  return named(text, fits ? /./su : /(?!)/, field, 'script name', expected);
}

/** Whether it can be a request id; ours are 16 hex digits, peers may choose others. */
export function isReqid(text: string): boolean {
  return /^[A-Za-z0-9_-]{1,64}$/.test(text);
}

/** Whether a text can stand alone between two slashes of a path; what is special there is escaped. */
export const isPathSegment = (text: string): boolean =>
  /^[^\p{C}\s]{1,128}$/u.test(text) && text !== '.' && text !== '..';
