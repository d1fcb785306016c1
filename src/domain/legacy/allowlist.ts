import { at } from '../core/configuration.js';
import { printable, scriptName } from '../core/names.js';
import type { Note } from './configuration.js';

/**
 * The text of a `scripts.conf` for this version: where a name is repeated older versions run what its last line says, and ours
 * what its first says; so the earlier ones become comments, and every line keeps its number.
 */
export function takeAllowlist(
  text: string,
  file: string,
): { readonly text: string; readonly notes: readonly Note[] } {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  const holding = new Map<string, number>();
  const notes: Note[] = [];
  for (const [index, raw] of [...lines.entries()]) {
    const name = raw.trim().startsWith('#') ? undefined : nameOf(raw);
    if (name === undefined) continue;
    const earlier = holding.get(name);
    if (earlier !== undefined) {
      lines[earlier - 1] = `# ${lines[earlier - 1]}`;
      notes.push({
        place: at(file, earlier),
        why: `"${printable(name, 80)}" is set again in line ${index + 1}`,
      });
    }
    holding.set(name, index + 1);
  }
  return { text: lines.join('\n'), notes };
}

/** The name of a line that those versions took: one whose path is absolute. */
function nameOf(line: string): string | undefined {
  const [, name = '', value = ''] = /^\s*([^=\s]+)\s*=\s*(.*)$/.exec(line) ?? [];
  const absolute = value.split(/\s+/).some((word) => word.startsWith('/'));
  return absolute ? scriptName(name).unwrapOr(undefined) : undefined;
}
