import { describe, expect, it } from 'vitest';
import { parseConfiguration } from '../../../../src/domain/core/configuration.js';
import { agentSettings } from '../../../../src/domain/settings/agent.js';
import { eventLogSetting } from '../../../../src/domain/settings/event-log.js';
import { failure, value } from '../../../contract/result.js';

describe('event_log', () => {
  it.each([
    ['auto', { kind: 'auto' }],
    ['syslog', { kind: 'syslog' }],
    ['stderr', { kind: 'stderr' }],
    ['json', { kind: 'json' }],
    ['none', { kind: 'none' }],
    ['None', { kind: 'none' }],
    ['json:/var/log/ctrl exec.json', { kind: 'json', file: '/var/log/ctrl exec.json' }],
    ['syslog:/run/systemd/journal/dev-log', { kind: 'syslog', socket: '/run/systemd/journal/dev-log' }],
  ])('%s is understood', (text, setting) => {
    expect(value(eventLogSetting(text))).toEqual(setting);
  });

  it.each([
    '',
    'json:',
    'json:events.json',
    'json:/',
    'json:/var/log/',
    'stderr:/x',
    'journal',
    'file:/x',
    '/x',
  ])('%j is refused', (text) => {
    expect(failure(eventLogSetting(text))).toMatch(/^auto, syslog, stderr, json, none,/);
  });

  it('a mistake names file, line and what is expected', () => {
    const base = { home: '/h', stateDir: '/h/state', file: '/h/agent.conf', fileTrust: 'strict' as const };
    const read = parseConfiguration('port = 1\nevent_log = journald\n', base.file).andThen((parsed) =>
      agentSettings(parsed, base),
    );
    expect(failure(read).message).toBe(
      '/h/agent.conf:2: event_log is "journald", expected auto, syslog, stderr, json, none, json:/absolute/path of a file, or syslog:/path of a socket',
    );
  });
});
