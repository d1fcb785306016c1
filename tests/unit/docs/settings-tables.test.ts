import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { ConfigurationEntry, ParsedConfiguration } from '../../../src/domain/core/configuration.js';
import { agentSettings } from '../../../src/domain/settings/agent.js';
import { dispatcherSettings } from '../../../src/domain/settings/dispatcher.js';
import { pullSettings } from '../../../src/domain/settings/pull.js';
import { keysWithoutEffect } from '../../../src/domain/settings/reader.js';
import { value } from '../../contract/result.js';

/** Home and state are one directory: defaults of both are names in it. */
const base = {
  home: '/h',
  stateDir: '/h',
  file: '/h/f.conf',
  hostName: 'control',
  fileTrust: 'strict',
} as const;

/** Entries that know which keys were looked for. */
class Entries extends Map<string, ConfigurationEntry> {
  readonly asked = new Set<string>();
  constructor(texts: Readonly<Record<string, string>>) {
    super(Object.entries(texts).map(([key, text]) => [key, { key, value: text, line: 1 }]));
  }
  override get(key: string) {
    this.asked?.add(key);
    return super.get(key);
  }
}

const parsed = (entries: Entries, pull?: Entries): ParsedConfiguration => ({
  file: base.file,
  entries,
  profiles: new Map(),
  tags: undefined,
  pull: pull && { line: 1, entries: pull },
});

/** What the keys of each file mean. `file_trust` and ids, whose default depends on the host, say whether they were set. */
const files = {
  'ctrl-exec.conf': (given: Entries) => value(dispatcherSettings(parsed(given), base)).settings,
  'agent.conf': (given: Entries) => value(agentSettings(parsed(given), base)).settings,
  '[pull]': (given: Entries) =>
    value(pullSettings({}, {}, { ...base, parsed: parsed(new Entries({}), given) })).settings,
};

const page = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');
const rowsBelow = (text: string, heading: string) =>
  (text.split(`\n${heading}\n`)[1]?.split(/^##/m)[0] ?? '')
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| ---'))
    .map((line) => line.split(' |').map((cell) => cell.replace(/^\|? ?/, '')));
const quoted = (cell: string) => [...cell.matchAll(/`([a-z_]+)`/g)].map(([, key = '']) => key);

/** Rows as keys and their defaults. */
const documented: Readonly<
  Record<keyof typeof files, readonly (readonly [keys: string, defaults: string])[]>
> = {
  'ctrl-exec.conf': rowsBelow(page('operators.md'), '### `ctrl-exec.conf`').map(([k = '', d = '']) => [k, d]),
  'agent.conf': rowsBelow(page('operators.md'), '### `agent.conf`').map(([k = '', d = '']) => [k, d]),
  '[pull]': [
    ...rowsBelow(page('pull-agent.md'), '## Settings').map(([, , k = '', d = '']) => [k, d] as const),
    ...rowsBelow(page('pull-agent.md'), '## What the control plane may do').map(
      ([k = '']) => [k, ''] as const,
    ),
  ],
};

/** Without these a pull agent does not begin. */
const required: Readonly<Record<string, string>> = { api_key: 'secret', agent_id: 'a-1' };

describe.each(Object.keys(files) as (keyof typeof files)[])('the table of %s', (file) => {
  const settings = files[file];
  const needed = file === '[pull]' ? required : {};

  it('has a row for each key, and for no other', () => {
    const given = new Entries(needed);
    settings(given);
    const keys = [...given.asked].filter((key) => !keysWithoutEffect.has(key)).sort();
    const inRows = documented[file].flatMap(([cell]) => quoted(cell));
    expect([...new Set(inRows)].sort()).toEqual(keys);
  });

  it('has the defaults', () => {
    const usual = settings(new Entries(needed));
    let compared = 0;
    for (const [cell, defaults] of documented[file]) {
      const texts = defaults.replaceAll('`', '').split(', ');
      for (const [index, key] of quoted(cell.replace(/ \(old name.*/, '')).entries()) {
        const [, text] = /^([\w./:-]+?)(?:: .*|;.*| in the (?:home|state))?$/.exec(texts[index] ?? '') ?? [];
        if (text === undefined || ['none', 'everybody', 'required', 'root'].includes(text)) continue;
        const set = settings(new Entries({ ...needed, [key]: text }));
        const flags = Object.fromEntries(Object.entries(set).filter(([name]) => name.endsWith('Configured')));
        expect({ key, settings: set }).toEqual({ key, settings: { ...usual, ...flags } });
        compared += 1;
      }
    }
    expect(compared).toBeGreaterThan(3);
  });
});
