import { err, ok, type Result } from 'neverthrow';
import type { FileTrust } from '../core/file-trust.js';
import { isHostName } from '../core/host-argument.js';
import { shortestAddress } from '../core/ip-prefix.js';
import { agentName } from '../core/names.js';
import type { RateLimit } from '../protocol/source-limits.js';

/** Reads one value; the error says what is expected instead. Fields see values as written, also empty ones. */
export type Field<T> = (text: string) => Result<T, string>;

/** Longest time that a timer is given: a week, in seconds. */
export const longestTimeout = 604_800;

function digits(text: string): number {
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
}

/** A whole number in decimal, between two bounds. */
export function integer(range: { min: number; max: number; unit?: string }): Field<number> {
  const { min, max, unit } = range;
  const expected = `a whole number${unit ? ` of ${unit}` : ''} from ${min} to ${max}`;
  return (text) => {
    const value = digits(text);
    return value >= min && value <= max ? ok(value) : err(expected);
  };
}

/** A whole number of seconds that a timer can hold. */
export function seconds(min: number): Field<number> {
  return integer({ min, max: longestTimeout, unit: 'seconds' });
}

/** A port to listen on; 0 lets the system choose. */
export const port: Field<number> = (text) => {
  const value = digits(text);
  return value <= 65535 ? ok(value) : err('a port from 1 to 65535, or 0 for one that the system chooses');
};

const on = new Set(['1', 'yes', 'true', 'on']);
const off = new Set(['0', 'no', 'false', 'off']);

export const boolean: Field<boolean> = (text) => {
  const word = text.toLowerCase();
  return on.has(word)
    ? ok(true)
    : off.has(word)
      ? ok(false)
      : err('1, yes, true or on; or 0, no, false or off');
};

/** One of a few words. */
export function oneOf<W extends string>(words: readonly W[]): Field<W> {
  return (text) => {
    const word = words.find((candidate) => candidate === text.toLowerCase());
    return word === undefined ? err(`one of ${words.join(', ')}`) : ok(word);
  };
}

/** What becomes of files that others decide about. */
export const fileTrust: Field<FileTrust> = oneOf(['strict', 'warn']);

/** An absolute path; a plain file name is taken in `home`. */
export function path(home: string): Field<string> {
  return (text) => {
    if (text.startsWith('/')) return ok(text);
    return text === '' || text.includes('/') || text === '.' || text === '..'
      ? err(`an absolute path, or the name of a file in ${home}`)
      : ok(inDirectory(home, text));
  };
}

/** `name` in a directory. */
export function inDirectory(directory: string, name: string): string {
  return directory.endsWith('/') ? directory + name : `${directory}/${name}`;
}

/** As the field, and nothing at all means undefined. */
export function optional<T>(field: Field<T>): Field<T | undefined> {
  return (text) => (text === '' ? ok(undefined) : field(text));
}

/** At least one entry, separated by commas. */
export const commaList: Field<readonly string[]> = (text) => {
  const entries = text.split(',').map((entry) => entry.trim());
  return entries.includes('') ? err('a list separated by commas, without empty entries') : ok(entries);
};

/** At least one absolute path, separated by colons; empty entries are ignored. */
export const directories: Field<readonly string[]> = (text) => {
  const entries = text
    .split(':')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
  return entries.length > 0 && entries.every((entry) => entry.startsWith('/'))
    ? ok(entries)
    : err('absolute paths of directories, separated by colons');
};

/** `limit/window/block`, for instance `10/60/300`. */
export const rateLimit: Field<RateLimit> = (text) => {
  const [limit = 0, window = 0, block = 0, ...rest] = text.split('/').map((part) => digits(part.trim()));
  const usable = (value: number) => value >= 1 && value <= 1_000_000;
  return [limit, window, block].every(usable) && rest.length === 0
    ? ok({ limit, window, block })
    : err(
        'limit/window/block, three whole numbers from 1 to 1000000 such as 10/60/300 (window and block in seconds)',
      );
};

/** An address to listen on, in its shortest form, or a host name for one. */
export const bindAddress: Field<string> = (text) => {
  const bracketed = /^\[(.*:.*)\]$/.exec(text);
  const address = shortestAddress(bracketed?.[1] ?? text);
  if (address !== undefined) return ok(address);
  return isHostName(text) && !/^[0-9]+$/.test(text) ? ok(text) : err('an IP address such as 127.0.0.1 or ::');
};

/** Names of agents, lower-cased, or `*` for all of them; empty: none. */
export const agentNames: Field<'*' | readonly string[]> = (text) => {
  if (text === '') return ok([]);
  if (text === '*') return ok('*');
  const names = text.split(',').map((name) => agentName(name.trim()));
  const valid = names.flatMap((name) => (name.isOk() ? [name.value] : []));
  return valid.length === names.length ? ok(valid) : err('names of agents separated by commas, or *');
};
