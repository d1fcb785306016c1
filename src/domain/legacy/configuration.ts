import {
  at,
  type ConfigurationEntries,
  type ConfigurationEntry,
  type ParsedConfiguration,
} from '../core/configuration.js';
import { printable } from '../core/names.js';

/** A configuration file made fit for this version: what is left out stands as a comment, so that every line keeps its number. */
export interface TakenConfiguration {
  readonly text: string;
  /** What the other installation reads in it, without sections. */
  readonly settings: ReadonlyMap<string, ConfigurationEntry>;
  /** Lines that were left out: `file:line`, and why older versions did not go by them. */
  readonly notes: readonly Note[];
}

export interface Note {
  readonly place: string;
  readonly why: string;
}

/** How the older versions read their files, where that differs from ours. */
export interface Reading {
  /** Lines that begin with white space say nothing, and those that are not understood neither (`ctrl-exec.conf`). */
  readonly lenient: boolean;
  /** Sections that mean something. */
  readonly sections: RegExp;
}

export const dispatcherReading: Reading = { lenient: true, sections: /^(?!)/ };
export const agentReading: Reading = {
  lenient: false,
  sections: /^\[\s*(tags|profile\s+[A-Za-z0-9._-]{1,64})\s*\]$/,
};

/**
 * Makes a comment of every line that the older version did not read, or read and then overruled: there the last line of a key
 * holds. Lines of `leaveOut` go, too: they say where the files of the other installation lie.
 */
export function takeConfiguration(
  text: string,
  file: string,
  { lenient, sections }: Reading,
  leaveOut: ReadonlySet<string>,
): TakenConfiguration {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  const settings = new Map<string, ConfigurationEntry>();
  const holding = new Map<string, number>();
  const notes: (Note & { readonly line: number })[] = [];
  const drop = (line: number, why: string) => {
    lines[line - 1] = `# ${lines[line - 1]}`;
    notes.push({ line, place: at(file, line), why });
  };
  let section = '';
  let known = true;
  for (const [index, raw] of [...lines.entries()]) {
    const line = index + 1;
    const content = raw.trim();
    if (content === '' || content.startsWith('#')) continue;
    if (lenient && /^\s/.test(raw)) {
      drop(line, 'it is indented');
      continue;
    }
    if (!lenient && content.startsWith('[')) {
      known = sections.test(content);
      section = content.replace(/\s+/g, ' ');
      if (!known) drop(line, `${printable(section, 60)} is no section that means anything`);
      continue;
    }
    if (!known) {
      drop(line, `it stands in ${printable(section, 60)}`);
      continue;
    }
    const [, key, value] = /^([^=]*?)\s*=\s*(.*)$/.exec(content) ?? [];
    if (key === undefined || value === undefined || !/^\w[\w.-]*$/.test(key)) {
      // Where it is an error for the older version, it stays one.
      if (lenient) drop(line, 'it is not understood, expected key = value');
      continue;
    }
    const earlier = holding.get(`${section} ${key}`);
    if (earlier !== undefined) drop(earlier, `${printable(key, 64)} is set again in line ${line}`);
    holding.set(`${section} ${key}`, line);
    if (section !== '') continue;
    settings.set(key, { key, value, line });
  }
  for (const { key, line } of settings.values())
    if (leaveOut.has(key)) lines[line - 1] = `# ${lines[line - 1]}`;
  return {
    text: lines.join('\n'),
    settings,
    notes: notes.toSorted((a, b) => a.line - b.line).map(({ place, why }) => ({ place, why })),
  };
}

/** What has become of those lines. @param inPlace the file is left as it is, and read by this version from now on */
export const describeNote =
  (inPlace: boolean) =>
  ({ place, why }: Note): string =>
    inPlace
      ? `${place}: older versions do not go by this line, and this one does: ${why}`
      : `${place}: left out: ${why}`;

/** What is set there, and here not or to something else, one line each; tags as `tags.NAME`. @param except keys that do not count */
export function settingDifferences(
  theirs: ParsedConfiguration,
  ours: ParsedConfiguration,
  except: ReadonlySet<string>,
): readonly string[] {
  const top = [...theirs.entries.values()].filter(({ key }) => !except.has(key));
  return [
    ...differing(theirs.file, top, ours.entries, ''),
    ...differing(theirs.file, [...(theirs.tags?.entries.values() ?? [])], ours.tags?.entries, 'tags.'),
  ];
}

function differing(
  file: string,
  theirs: readonly ConfigurationEntry[],
  ours: ConfigurationEntries | undefined,
  prefix: string,
): readonly string[] {
  return theirs.flatMap(({ key, value, line }) => {
    const here = ours?.get(key)?.value;
    if (here === value) return [];
    const held = here === undefined ? 'not set' : `"${printable(here, 80)}"`;
    return [
      `${at(file, line)}: ${prefix}${printable(key, 64)} is "${printable(value, 80)}", and ${held} here`,
    ];
  });
}
