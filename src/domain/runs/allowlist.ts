import { at, contentLines } from '../core/configuration.js';
import { printable, scriptName } from '../core/names.js';

/** A script that may be run. */
export interface AllowlistEntry {
  readonly name: string;
  /** Absolute, as written: links are not resolved. */
  readonly path: string;
  readonly profile: string | undefined;
  /** 1-based. */
  readonly line: number;
}

export interface Allowlist {
  readonly entries: ReadonlyMap<string, AllowlistEntry>;
  /** One line each, with file and line. */
  readonly warnings: readonly string[];
}

/** A trailing word `profile=…`; whatever stands before it is the path, spaces included. */
const profileWord = /(?<=\s)profile=(\S*)$/;

/**
 * Reads `scripts.conf`: lines `name = /absolute/path [profile=NAME]`, and comments as in every configuration file. A line that
 * is not understood, or that repeats a name, is skipped with a warning; the others hold.
 */
export function parseAllowlist(text: string, file: string): Allowlist {
  const entries = new Map<string, AllowlistEntry>();
  const warnings: string[] = [];
  for (const { line, text: content } of contentLines(text)) {
    const entry = parseLine(content, line);
    const earlier = typeof entry === 'string' ? undefined : entries.get(entry.name);
    if (typeof entry === 'string') warnings.push(`${at(file, line)}: skipped, ${entry}`);
    else if (earlier)
      warnings.push(`${at(file, line)}: skipped, "${entry.name}" is already set in line ${earlier.line}`);
    else entries.set(entry.name, entry);
  }
  return { entries, warnings };
}

/** The entry, or why there is none. */
function parseLine(content: string, line: number): AllowlistEntry | string {
  const shown = `"${printable(content, 80)}"`;
  const equals = content.indexOf('=');
  if (equals < 0) return `${shown} is not understood, expected name = /absolute/path [profile=NAME]`;
  const name = scriptName(content.slice(0, equals).trim());
  if (name.isErr()) return name.error.message;

  const value = content.slice(equals + 1).trim();
  const [word, profile] = profileWord.exec(value) ?? [];
  if (profile !== undefined && !/^[A-Za-z0-9._-]{1,64}$/.test(profile))
    return `the profile of ${shown} is not valid, expected profile=NAME of letters, digits, ".", "_" or "-"`;
  const path = word === undefined ? value : value.slice(0, -word.length).trim();

  const reason = whyNotPath(path);
  if (reason !== undefined)
    return `the path of ${shown} ${reason}, expected name = /absolute/path [profile=NAME]`;
  return { name: name.value, path, profile, line };
}

function whyNotPath(path: string): string | undefined {
  if (!path.startsWith('/')) return 'is not absolute';
  if (/\p{Cc}/u.test(path)) return 'holds a control character';
  if (path.length > 4095) return 'is longer than 4095 characters';
  if (path.split('/').includes('..')) return 'holds ".."';
  if (path.endsWith('/')) return 'names a directory';
  return undefined;
}

/**
 * Whether a path lies in one of the directories or below. Compares whole names, so `/opt/ab` is not in `/opt/a`; both
 * must be real paths, with every link resolved. Nothing lies in no directories.
 */
export function withinDirectories(realPath: string, realDirs: readonly string[]): boolean {
  if (!realPath.startsWith('/') || realPath.split('/').includes('..')) return false;
  return realDirs.some((directory) => {
    const prefix = directory.endsWith('/') ? directory : `${directory}/`;
    return directory.startsWith('/') && realPath.startsWith(prefix) && realPath.length > prefix.length;
  });
}
