import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfiguration } from '../../../../src/domain/core/configuration.js';
import { parseLegacyRotation } from '../../../../src/domain/legacy/agent-record.js';
import { takeAllowlist } from '../../../../src/domain/legacy/allowlist.js';
import {
  agentReading,
  describeNote,
  dispatcherReading,
  settingDifferences,
  takeConfiguration,
} from '../../../../src/domain/legacy/configuration.js';
import { value } from '../../../contract/result.js';

const places = new Set(['cert', 'key']);
const noted = (notes: Parameters<ReturnType<typeof describeNote>>[0][]) => notes.map(describeNote(false));

describe('a configuration that is taken over', () => {
  it('keeps its lines, but for those that say where files lie there', () => {
    const text = '# head\ncert = /etc/x.crt\nread_timeout = 90\n';
    const taken = takeConfiguration(text, 'c', dispatcherReading, places);
    expect(taken.text).toBe('# head\n# cert = /etc/x.crt\nread_timeout = 90\n');
    expect(taken.settings.get('cert')).toEqual({ key: 'cert', value: '/etc/x.crt', line: 2 });
    expect(taken.notes).toEqual([]);
  });

  it('of a dispatcher is without what older versions did not read: indented lines, and earlier ones of a key', () => {
    const text = 'a = 1\n  b = 2\nnonsense\na = 3\n';
    const taken = takeConfiguration(text, 'c', dispatcherReading, places);
    expect(taken.text).toBe('# a = 1\n#   b = 2\n# nonsense\na = 3\n');
    expect(taken.settings.get('a')?.value).toBe('3');
    expect(noted([...taken.notes])).toEqual([
      'c:1: left out: a is set again in line 4',
      'c:2: left out: it is indented',
      'c:3: left out: it is not understood, expected key = value',
    ]);
  });

  it('of an agent keeps indented lines, tags and profiles, and not what stands in other sections', () => {
    const text = '  port = 1\n[tags]\nport = x\n[other]\nallow = 1\n[profile p]\ncaps = y\n';
    const taken = takeConfiguration(text, 'c', agentReading, places);
    expect(taken.text).toBe('  port = 1\n[tags]\nport = x\n# [other]\n# allow = 1\n[profile p]\ncaps = y\n');
    expect(taken.settings.get('port')?.value).toBe('1');
    expect(taken.notes).toHaveLength(2);
  });

  it('a line that an older agent refuses to start with is not made to vanish', () => {
    const text = 'allowed_ips 10.0.0.0/8\n';
    expect(takeConfiguration(text, 'c', agentReading, places).text).toBe(text);
  });

  it('has the same number of lines, and every line is as it was or a comment of it', () => {
    const line = fc.oneof(
      fc.constantFrom('cert = /x', 'a = 1', 'a = 2', ' b = 1', '[tags]', '[other]', '# c', '', 'junk'),
      fc.stringMatching(/^[ -~]{0,20}$/),
    );
    fc.assert(
      fc.property(fc.array(line), fc.boolean(), (lines, agent) => {
        const taken = takeConfiguration(
          lines.join('\n'),
          'c',
          agent ? agentReading : dispatcherReading,
          places,
        );
        const now = taken.text.split('\n');
        expect(now).toHaveLength(lines.join('\n').split('\n').length);
        for (const [index, each] of lines.entries())
          expect(now[index]?.replace(/^(# )+/, '')).toBe(each.replace(/^(# )+/, ''));
      }),
    );
  });

  it('differences are named with the line there and the value here', () => {
    const read = (text: string, file: string) => value(parseConfiguration(text, file));
    const theirs = read('a = 1\nb = 2\nc = 3\n[tags]\nenv = prod\n', 'there');
    const ours = read('b = 2\nc = 4\n', 'here');
    expect(settingDifferences(theirs, ours, new Set(['a']))).toEqual([
      'there:3: c is "3", and "4" here',
      'there:5: tags.env is "prod", and not set here',
    ]);
  });
});

describe('an allowlist that is taken over', () => {
  it('runs for a name what its last line says, as before', () => {
    const taken = takeAllowlist('a = /x\n# a = /c\nb = /y\na = /z\n', 's');
    expect(taken.text).toBe('# a = /x\n# a = /c\nb = /y\na = /z\n');
    expect(noted([...taken.notes])).toEqual(['s:1: left out: "a" is set again in line 4']);
  });

  it('a later line that was no entry does not take an earlier one out', () => {
    const text = 'a = /x\na = relative\n';
    expect(takeAllowlist(text, 's')).toEqual({ text, notes: [] });
  });
});

describe('the rotation state of an older installation', () => {
  it('says which serial was before, as far as it is understood', () => {
    expect(parseLegacyRotation('{"previous_serial":"0a","rotated_at":"2026-11-21T20:49:06Z"}')).toBe('0a');
    for (const text of ['{"previous_serial":""}', '{"previous_serial":7}', '[]', ''])
      expect(parseLegacyRotation(text)).toBeUndefined();
    fc.assert(fc.property(fc.string(), (text) => void parseLegacyRotation(text)));
  });
});
