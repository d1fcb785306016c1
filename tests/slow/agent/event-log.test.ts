import { spawn } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  agentOnDisk,
  commandFile,
  dispatcherOnDisk,
  run,
  temporaryDirectory,
} from '../../support/commands/commands.js';
import { missingForSyslog, syslogSocket } from '../../support/network/syslog-socket.js';
import { parseLogLine } from '../../unit/domain/core/parse-log-line.js';

const skipped = missingForSyslog === undefined ? '' : ` (skipped: ${missingForSyslog})`;
const events = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('ACTION='))
    .map(parseLogLine);
const jsonLines = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line): Record<string, unknown> => JSON.parse(line));

/** A dispatcher that can do no more than issue a join token, which is an event. */
async function homeWithCa(): Promise<string> {
  const home = temporaryDirectory();
  expect((await run('ctrl-exec', ['setup-ca'], { home })).code).toBe(0);
  return home;
}

async function issueJoinToken(conf: string, env: Record<string, string> = {}) {
  const home = await homeWithCa();
  writeFileSync(join(home, 'ctrl-exec.conf'), conf);
  return run('ctrl-exec', ['join-token', '--host', 'web-01'], { home, env });
}

describe('syslog', () => {
  it.skipIf(skipped)(`has each event of both hosts, the last one too${skipped}`, async () => {
    const { path, until } = await syslogSocket();
    const control = await dispatcherOnDisk(`event_log = syslog:${path}\n`);
    const web = await control.pairAgent('web-01', `event_log = syslog:${path}\n`);
    web.script('hello', '#!/bin/sh\necho hello\n');
    const serving = await web.serve();
    const ran = await control.command('run', 'web-01', 'hello');
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const reqid = /req:([0-9a-f]{16})/.exec(ran.stdout)?.[1];
    const stopped = await serving.stop();
    expect(stopped.stderr).not.toContain('ACTION=');

    const messages = await until(({ text }) => text.startsWith('ACTION=stopped'));
    const of = (tag: string) => messages.filter((message) => message.tag === tag);
    expect(of('ctrl-exec').map(({ text }) => parseLogLine(text).action)).toEqual(
      expect.arrayContaining(['ca-created', 'identity-created', 'pairing-approved', 'run', 'run-result']),
    );
    expect(of('ctrl-exec-agent').map(({ text }) => parseLogLine(text).action)).toEqual(
      expect.arrayContaining(['paired', 'serving', 'run-start', 'run-end', 'stopped']),
    );
    const about = messages
      .map(({ text }) => parseLogLine(text))
      .filter(({ fields }) => fields['REQID'] === reqid);
    expect(about.map(({ action }) => action).sort()).toEqual(['run', 'run-end', 'run-result', 'run-start']);
    expect(new Set(of('ctrl-exec-agent').map(({ pid }) => pid))).toContain(serving.child.pid);
    expect(messages.every(({ priority }) => priority === 30)).toBe(true);
  });

  it('without logger, lines are on standard error', async () => {
    const ended = await issueJoinToken('event_log = syslog\n', { PATH: temporaryDirectory() });
    expect(ended.code).toBe(0);
    expect(events(ended.stderr).map(({ action }) => action)).toEqual([
      'event-log-failed',
      'join-token-issued',
    ]);
    const secret = /cxj2\.[^.]+\.(\S+)/.exec(ended.stdout)?.[1] ?? 'not shown';
    expect(ended.stderr).not.toContain(secret);
  });
});

describe('a file', () => {
  it('gets a JSON object a line from all commands, and nobody else may read it', async () => {
    const file = join(temporaryDirectory(), 'events.json');
    const control = await dispatcherOnDisk(`event_log = json:${file}\n`);
    const ended = await control.command('join-token', '--host', 'web-01');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(jsonLines(readFileSync(file, 'utf8')).map(({ action }) => action)).toEqual([
      'ca-created',
      'identity-created',
      'join-token-issued',
    ]);
    expect(statSync(file).mode & 0o777).toBe(0o640);
  });

  it('that cannot be written is no reason to fail: lines are on standard error', async () => {
    const file = join(temporaryDirectory(), 'missing', 'events.json');
    const ended = await issueJoinToken(`event_log = json:${file}\n`);
    expect(ended.code).toBe(0);
    expect(jsonLines(ended.stderr)).toMatchObject([
      { action: 'event-log-failed', level: 'warning', reason: `${file}: ENOENT` },
      { action: 'join-token-issued', level: 'info', host: 'web-01' },
    ]);
  });
});

describe('standard error', () => {
  it.each([
    ['stderr', /^ACTION=join-token-issued HOST=web-01 /],
    ['json', /^\{"time":"[^"]+","level":"info","action":"join-token-issued",/],
    ['none', /^$/],
  ])('event_log = %s', async (value, line) => {
    const ended = await issueJoinToken(`event_log = ${value}\n`);
    expect(ended.code).toBe(0);
    expect(ended.stderr).toMatch(line);
  });

  it.skipIf(existsSync('/dev/log'))(
    'of a command that ends has no events by default (skipped: where /dev/log exists they go there)',
    async () => {
      expect(await issueJoinToken('')).toMatchObject({ code: 0, stderr: '' });
    },
  );

  it('of a daemon has the events by default', async () => {
    const control = await dispatcherOnDisk();
    const { process: mode } = await control.pairingMode();
    expect(events((await mode.stop()).stderr).map(({ action }) => action)).toEqual([
      'pairing-mode',
      'pairing-mode-closed',
    ]);
  });

  it.each(['journal', 'file'])(
    'has a priority in front of each line only if it is the journal: %s',
    async (kind) => {
      const directory = temporaryDirectory();
      const output = join(directory, 'stderr');
      const descriptor = openSync(output, 'w');
      const { dev, ino } = fstatSync(descriptor, { bigint: true });
      const JOURNAL_STREAM = kind === 'journal' ? `${dev}:${ino}` : `${dev}:${ino + 1n}`;
      const home = await homeWithCa();
      writeFileSync(join(home, 'ctrl-exec.conf'), 'event_log = stderr\n');
      const child = spawn(
        process.execPath,
        [commandFile('ctrl-exec'), '--home', home, 'join-token', '--host', 'web-01'],
        { env: { PATH: process.env['PATH'] ?? '', JOURNAL_STREAM }, stdio: ['ignore', 'ignore', descriptor] },
      );
      await new Promise((resolve) => child.once('close', resolve));
      closeSync(descriptor);
      expect(readFileSync(output, 'utf8')).toMatch(
        kind === 'journal' ? /^<6>ACTION=join-token-issued [^\n]+\n$/ : /^ACTION=join-token-issued [^\n]+\n$/,
      );
    },
  );
});

it('a wrong event_log is said with file and line, and serve ends as systemd should not restart it', async () => {
  const agent = await agentOnDisk('web-01', 'event_log = journald\n');
  const ended = await agent.command('serve');
  expect(ended.code).toBe(78);
  expect(ended.stderr).toContain(
    `${agent.home}/agent.conf:3: event_log is "journald", expected auto, syslog`,
  );
});

it('setup-ca says that commands keep no events where there is no /dev/log', async () => {
  const home = temporaryDirectory();
  const { code, stderr } = await run('ctrl-exec', ['setup-ca'], { home });
  expect(code).toBe(0);
  expect(stderr).toBe(
    existsSync('/dev/log')
      ? ''
      : 'note: there is no /dev/log: events of commands are not kept; `event_log = json:/path` keeps them\n',
  );
});
