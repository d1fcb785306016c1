import { describe, expect, test } from 'vitest';
import {
  type HookContext,
  type HookOutcome,
  hookInput,
  hookVariables,
  judgeHook,
} from '../../../../src/domain/runs/auth-hook.js';

const context: HookContext = {
  action: 'run',
  script: 'backup',
  hosts: ['web-01', 'web-02'],
  args: ['--db', 'my app'],
  username: 'alice',
  token: 't',
  sourceIp: '192.0.2.7',
  timestamp: '2026-01-02T03:04:05Z',
};
const variables = (changes: Partial<HookContext> = {}): Record<string, string> => {
  const told = hookVariables({ ...context, ...changes });
  if ('nulIn' in told) throw new Error(`NUL in ${told.nulIn}`);
  return told.variables;
};

describe('judging a hook', () => {
  test.each<[HookOutcome, string, 1 | 2 | 3 | undefined]>([
    [{ kind: 'exited', code: 1 }, 'denied', 1],
    [{ kind: 'exited', code: 2 }, 'bad credentials', 2],
    [{ kind: 'exited', code: 3 }, 'insufficient privilege', 3],
    [{ kind: 'exited', code: 4 }, 'hook exited 4', undefined],
    [{ kind: 'exited', code: 255 }, 'hook exited 255', undefined],
    [{ kind: 'exited', code: -1 }, 'hook exited -1', undefined],
    [{ kind: 'signalled', signal: 'SIGSEGV' }, 'hook killed by SIGSEGV', undefined],
    [{ kind: 'timed-out', seconds: 10 }, 'hook timed out after 10 s', undefined],
    [{ kind: 'not-run', reason: 'NUL in args' }, 'hook could not be executed: NUL in args', undefined],
  ])('%j is denied, whatever holds without a hook', (outcome, reason, code) => {
    for (const withoutHook of ['allow', 'deny'] as const)
      expect(judgeHook(outcome, withoutHook)).toEqual({ allowed: false, reason, code });
  });

  test('only exit 0 authorises', () => {
    expect(judgeHook({ kind: 'exited', code: 0 }, 'deny')).toEqual({ allowed: true });
  });

  test('without a hook the default decides', () => {
    expect(judgeHook({ kind: 'none' }, 'allow')).toEqual({ allowed: true });
    expect(judgeHook({ kind: 'none' }, 'deny')).toEqual({ allowed: false, reason: 'denied', code: 1 });
  });
});

describe('what a hook is told', () => {
  test('standard input has the members of the protocol and no other', () => {
    const dispatcher = { id: 'd1', serial: '1a' };
    const { sourceIp, ...rest } = context;
    expect(JSON.parse(hookInput({ ...context, dispatcher }))).toEqual({ ...rest, source_ip: sourceIp });
  });

  test('the dispatcher tells the hosts', () => {
    expect(variables()).toEqual({
      ENVEXEC_ACTION: 'run',
      ENVEXEC_SCRIPT: 'backup',
      ENVEXEC_HOSTS: 'web-01,web-02',
      ENVEXEC_ARGS: '--db my app',
      ENVEXEC_ARGS_JSON: '["--db","my app"]',
      ENVEXEC_USERNAME: 'alice',
      ENVEXEC_TOKEN: 't',
      ENVEXEC_SOURCE_IP: '192.0.2.7',
      ENVEXEC_TIMESTAMP: '2026-01-02T03:04:05Z',
    });
  });

  test('the agent tells who called, and an empty list of hosts', () => {
    const told = variables({ hosts: [], dispatcher: { id: 'd1', serial: '1a' } });
    expect(told).toMatchObject({
      ENVEXEC_DISPATCHER: 'd1',
      ENVEXEC_DISPATCHER_SERIAL: '1a',
      ENVEXEC_HOSTS: '',
    });
  });

  test('a status question tells the run and its submitter', () => {
    const run = { reqid: 'a3f9b2c100010002', submitter: 'bob', submitterIp: '192.0.2.9' };
    expect(variables({ action: 'status', run })).toMatchObject({
      ENVEXEC_REQID: 'a3f9b2c100010002',
      ENVEXEC_SUBMITTER: 'bob',
      ENVEXEC_SUBMITTER_IP: '192.0.2.9',
    });
  });

  test('a list of exactly 64 KiB is told, one byte more is left out', () => {
    const limit = 64 * 1024;
    expect(variables({ args: ['x'.repeat(limit)] })).toHaveProperty('ENVEXEC_ARGS');
    expect(variables({ args: ['x'.repeat(limit)] })).not.toHaveProperty('ENVEXEC_ARGS_JSON');
    expect(variables({ args: ['x'.repeat(limit + 1)] })).not.toHaveProperty('ENVEXEC_ARGS');
    expect(variables({ args: ['é'.repeat(limit / 2 + 1)] })).not.toHaveProperty('ENVEXEC_ARGS');
    expect(variables({ hosts: ['x'.repeat(limit + 1)] })).not.toHaveProperty('ENVEXEC_HOSTS');
  });

  test('a NUL anywhere refuses, also in what would be left out', () => {
    const long = 'x'.repeat(100_000);
    const cases: [Partial<HookContext>, string][] = [
      [{ action: '\0' }, 'ENVEXEC_ACTION'],
      [{ script: '\0' }, 'ENVEXEC_SCRIPT'],
      [{ username: '\0' }, 'ENVEXEC_USERNAME'],
      [{ token: '\0' }, 'ENVEXEC_TOKEN'],
      [{ sourceIp: '\0' }, 'ENVEXEC_SOURCE_IP'],
      [{ args: [long, 'a\0b'] }, 'ENVEXEC_ARGS'],
      [{ hosts: [long, '\0'] }, 'ENVEXEC_HOSTS'],
      [{ hosts: ['\0'], dispatcher: { id: 'd', serial: '1' } }, 'ENVEXEC_HOSTS'],
      [{ dispatcher: { id: 'd', serial: '\0' } }, 'ENVEXEC_DISPATCHER_SERIAL'],
      [{ run: { reqid: '\0', submitter: '', submitterIp: '' } }, 'ENVEXEC_REQID'],
    ];
    for (const [changes, nulIn] of cases)
      expect(hookVariables({ ...context, ...changes })).toEqual({ nulIn });
  });
});
