import { err, ok, type Result } from 'neverthrow';
import { closest } from '../core/closest.js';
import {
  at,
  type ConfigurationEntry,
  configInvalid,
  type ParsedConfiguration,
} from '../core/configuration.js';
import type { CtrlExecError } from '../core/errors.js';
import { printable } from '../core/names.js';
import type { Field } from './fields.js';

/** Keys that are read and checked, while nothing acts on them yet: setting one is a warning. */
export const keysWithoutEffect: ReadonlySet<string> = new Set(['pairing_rate_limit_disable']);

/** Settings that could be read, and what was doubtful about them. */
export interface SettingsAndWarnings<S> {
  readonly settings: S;
  /** One line each, with file and line. */
  readonly warnings: readonly string[];
}

/**
 * Reads the keys of one configuration, one by one. Nothing fails before `finish`, which knows from what was read which
 * keys there are.
 */
export interface SettingsReader {
  /** The value of a key, under its name or an older one; `fallback` when it is not set or not valid. */
  read<T, F>(key: string, field: Field<T>, fallback: F, oldKey?: string): T | F;
  isSet(key: string): boolean;
  /** Makes `finish` fail at this key, if it is set. */
  reject(key: string, reason: string): void;
  /** The settings, or the error of the first line that has one. `sections`: those that mean something in this file. */
  finish<S>(
    settings: S,
    sections: ReadonlyArray<'tags' | 'pull' | 'profile'>,
  ): Result<SettingsAndWarnings<S>, CtrlExecError<'config_invalid'>>;
}

/** @param parsed undefined when there is no file: then every fallback holds */
export function settingsReader(parsed: ParsedConfiguration | undefined, file: string): SettingsReader {
  const name = parsed?.file ?? file;
  const entries: ParsedConfiguration['entries'] = parsed?.entries ?? new Map();
  const known = new Set<string>();
  const errors: Array<{ readonly line: number; readonly reason: string }> = [];
  const warnings: Array<{ readonly line: number; readonly text: string }> = [];

  const entryOf = (key: string, oldKey: string | undefined): ConfigurationEntry | undefined => {
    const entry = entries.get(key);
    const old = oldKey === undefined ? undefined : entries.get(oldKey);
    if (entry && old)
      warnings.push({
        line: old.line,
        text: `${old.key} is ignored, for ${key} is set in line ${entry.line}`,
      });
    return entry ?? old;
  };

  return {
    read(key, field, fallback, oldKey) {
      known.add(key);
      if (oldKey !== undefined) known.add(oldKey);
      const entry = entryOf(key, oldKey);
      if (!entry) return fallback;
      if (keysWithoutEffect.has(key))
        warnings.push({ line: entry.line, text: `${key} is read but has no effect in this version` });
      const value = field(entry.value);
      if (value.isOk()) return value.value;
      const found = entry.value === '' ? 'is empty' : `is "${printable(entry.value, 80)}"`;
      errors.push({ line: entry.line, reason: `${entry.key} ${found}, expected ${value.error}` });
      return fallback;
    },
    isSet: (key) => entries.has(key),
    reject(key, reason) {
      const entry = entries.get(key);
      if (entry) errors.push({ line: entry.line, reason: `${key} ${reason}` });
    },
    finish(settings, sections) {
      const first = errors.toSorted((a, b) => a.line - b.line)[0];
      if (first) return err(configInvalid(name, first.line, first.reason));
      for (const { key, line } of entries.values())
        if (!known.has(key)) warnings.push({ line, text: unknownKey(key, known) });
      for (const { key, line } of parsed?.tags?.entries.values() ?? [])
        if (known.has(key) && sections.includes('tags'))
          warnings.push({
            line,
            text: `${key} stands in [tags] and is a tag; as a setting it belongs above it`,
          });
      for (const { section, line } of sectionsOf(parsed))
        if (!sections.includes(section))
          warnings.push({ line, text: `section [${section}] has no effect here` });
      const lines = warnings.toSorted((a, b) => a.line - b.line);
      return ok({ settings, warnings: lines.map(({ line, text }) => `${at(name, line)}: ${text}`) });
    },
  };
}

function sectionsOf(parsed: ParsedConfiguration | undefined) {
  const found: Array<{ section: 'tags' | 'pull' | 'profile'; line: number }> = [];
  if (parsed?.tags) found.push({ section: 'tags', line: parsed.tags.line });
  if (parsed?.pull) found.push({ section: 'pull', line: parsed.pull.line });
  for (const { line } of parsed?.profiles.values() ?? []) found.push({ section: 'profile', line });
  return found;
}

function unknownKey(key: string, known: ReadonlySet<string>): string {
  const close = closest(key.toLowerCase().replaceAll('-', '_'), known);
  return `unknown key "${printable(key, 64)}" is ignored${close === undefined ? '' : `, did you mean "${close}"?`}`;
}
