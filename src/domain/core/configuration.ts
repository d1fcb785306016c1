import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from './errors.js';
import { printable } from './names.js';

export interface ConfigurationEntry {
  readonly key: string;
  /** Without the white space around it; may be empty. */
  readonly value: string;
  /** 1-based. */
  readonly line: number;
}

export type ConfigurationEntries = ReadonlyMap<string, ConfigurationEntry>;

interface ConfigurationSection {
  /** Where it begins; 1-based. */
  readonly line: number;
  readonly entries: ConfigurationEntries;
}

/** A configuration file as it was written; what its keys mean is read by the settings of the one it is for. */
export interface ParsedConfiguration {
  readonly file: string;
  /** What stands before the first section. */
  readonly entries: ConfigurationEntries;
  readonly tags: ConfigurationSection | undefined;
  readonly pull: ConfigurationSection | undefined;
  readonly profiles: ReadonlyMap<string, ConfigurationSection>;
}

/** A line that says something beside a comment. */
export interface ContentLine {
  /** 1-based. */
  readonly line: number;
  /** Without its comment and the white space around it. */
  readonly text: string;
  /** Its comment, from the `#` on; empty where there is none. */
  readonly comment: string;
}

/**
 * The lines of a file that people write, without blank ones, comments, a byte order mark and carriage returns. A `#` at the
 * start of a line or after white space begins a comment.
 */
export function contentLines(text: string): readonly ContentLine[] {
  return withoutMark(text)
    .split('\n')
    .map((line, index) => ({ line: index + 1, text: content(line), comment: comment(line).trim() }))
    .filter((line) => line.text !== '');
}

/** The comment of a line with the white space before it; empty where there is none. */
const comment = (line: string): string => /(?<!\s)\s+#.*|^#.*/s.exec(line)?.[0] ?? '';

/** What a line says, without its comment and the white space around it. */
const content = (line: string): string => line.slice(0, line.length - comment(line).length).trim();

/** An error at a line of a configuration file, in the one form that they all have. */
export function configInvalid(
  file: string,
  line: number | undefined,
  reason: string,
): CtrlExecError<'config_invalid'> {
  return failure('config_invalid', `${at(file, line)}: ${reason}`, {
    file,
    ...(line !== undefined && { line }),
    reason,
  });
}

/** `file:line`, as messages name a place. */
export function at(file: string, line: number | undefined): string {
  return printable(file, 1024) + (line === undefined ? '' : `:${line}`);
}

/** Any control character but tab; a carriage return only before the line's end is no part of the line. */
const controls = /[^\P{Cc}\t]/u;
const topKey = /^[A-Za-z][A-Za-z0-9_.-]{0,63}$/;

interface OpenSection {
  readonly line: number;
  readonly entries: Map<string, ConfigurationEntry>;
}

/**
 * Reads `key = value` lines and the sections `[tags]`, `[profile NAME]` and `[pull]`. A `#` at the start of a line or after
 * white space begins a comment; nothing can be quoted. A section that is opened again goes on. Windows line ends and a byte order mark are accepted; any other control character
 * is refused, as is a key that occurs twice in its section.
 */
export function parseConfiguration(
  text: string,
  file: string,
): Result<ParsedConfiguration, CtrlExecError<'config_invalid'>> {
  const top: OpenSection = { line: 1, entries: new Map() };
  const sections = new Map<string, OpenSection>();
  const profiles = new Map<string, OpenSection>();
  let open = top;
  const lines = withoutMark(text).split('\n');
  for (const [index, raw] of lines.entries()) {
    const line = index + 1;
    const refuse = (reason: string) => err(configInvalid(file, line, reason));
    const control = controls.exec(raw.endsWith('\r') ? raw.slice(0, -1) : raw);
    if (control) return refuse(`control character ${printable(control[0])} is not allowed`);
    const said = content(raw);
    if (said === '') continue;

    if (said.startsWith('[')) {
      const [, kind, profile] =
        /^\[\s*(?:(tags|pull)|profile\s+([A-Za-z0-9._-]{1,64}))\s*\]$/.exec(said) ?? [];
      const name = kind ?? profile;
      if (name === undefined)
        return refuse(`section ${quoted(said)} is not known, expected [tags], [profile NAME] or [pull]`);
      const among = kind === undefined ? profiles : sections;
      open = among.get(name) ?? { line, entries: new Map() };
      among.set(name, open);
      continue;
    }

    const equals = said.indexOf('=');
    const key = said.slice(0, Math.max(0, equals)).trim();
    if (equals < 0) return refuse(`${quoted(said)} is not understood, expected key = value`);
    if (open === top ? !topKey.test(key) : key === '' || key.length > 128 || key === '__proto__')
      return refuse(`${quoted(key)} is not a key, expected key = value`);
    const earlier = open.entries.get(key);
    if (earlier) return refuse(`${quoted(key)} is set twice, in line ${earlier.line} and in line ${line}`);
    open.entries.set(key, { key, value: said.slice(equals + 1).trim(), line });
  }
  return ok({
    file,
    entries: top.entries,
    tags: sections.get('tags'),
    pull: sections.get('pull'),
    profiles,
  });
}

/**
 * The text with a top-level key set: its line replaced where it has one, else added after the last top-level key, and
 * always before the first section. Everything else, line ends and comments included, stays as it was.
 * @param key a key as `parseConfiguration` takes it
 * @param value one line without ` #`; control characters become spaces
 */
export function editConfiguration(text: string, key: string, value: string): string {
  const mark = text.startsWith('\uFEFF') ? '\uFEFF' : '';
  const end = text.includes('\r\n') ? '\r\n' : '\n';
  const setting = `${key} = ${value.replace(/[^\P{Cc}\t]+/gu, ' ').trim()}`.trimEnd();
  // Each line with its end, so that what is not touched stays byte for byte.
  const lines: string[] = withoutMark(text).match(/[^\n]*\n|[^\n]+$/g) ?? [];
  const section = lines.findIndex((line) => line.trim().startsWith('['));
  const keys = lines.slice(0, section < 0 ? lines.length : section).map((line) => topLevelKey(line));

  const own = keys.indexOf(key);
  if (own >= 0) {
    const [, line = '', ending = ''] = /^(.*?)(\r?\n?)$/s.exec(lines[own] ?? '') ?? [];
    lines[own] = setting + comment(line) + ending;
    return mark + lines.join('');
  }
  const lastKey = keys.findLastIndex((found) => found !== undefined);
  const place = lastKey >= 0 ? lastKey + 1 : section < 0 ? lines.length : aboveComments(lines, section);
  const before = lines[place - 1];
  if (before !== undefined && !before.endsWith('\n')) lines[place - 1] = before + end;
  lines.splice(place, 0, setting + end, ...(lastKey < 0 && section >= 0 ? [end] : []));
  return mark + lines.join('');
}

/** The values that hold a `#`, which somebody may have meant as a comment; one line each. */
export const valuesWithHash = ({
  file,
  entries,
  tags,
  pull,
  profiles,
}: ParsedConfiguration): readonly string[] =>
  [
    entries,
    ...[tags, pull, ...profiles.values()].map((section) => section?.entries ?? new Map<string, never>()),
  ]
    .flatMap((section) => [...section.values()])
    .filter(({ value }) => value.includes('#'))
    .map(
      ({ key, line }) =>
        `${at(file, line)}: the "#" in the value of ${printable(key, 64)} is part of it: a comment needs a space before its "#"`,
    );

/** The key that a line sets, undefined for any other line. */
function topLevelKey(line: string): string | undefined {
  const said = content(line);
  const equals = said.indexOf('=');
  return equals < 0 ? undefined : said.slice(0, equals).trim();
}

/** Where the comment that belongs to a section begins; the section itself when that comment is the head of the file. */
function aboveComments(lines: readonly string[], section: number): number {
  const before = lines.slice(0, section).findLastIndex((line) => !line.trim().startsWith('#'));
  return before < 0 ? section : before + 1;
}

function withoutMark(text: string): string {
  return text.startsWith('\uFEFF') ? text.slice(1) : text;
}

function quoted(text: string): string {
  return `"${printable(text, 80)}"`;
}
