import { chmodSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { processAuthHook } from '../../../../src/adapters/child-process/auth-hook.js';
import { nodeFileSystem } from '../../../../src/adapters/files/file-system.js';
import type { FileTrust } from '../../../../src/domain/core/file-trust.js';
import type { HookContext } from '../../../../src/domain/runs/auth-hook.js';
import { value } from '../../../contract/result.js';
import { eventually, isAlive, scriptDirectory } from './scripts.js';

const { directory, file, shell, node } = scriptDirectory();
const context: HookContext = {
  action: 'run',
  script: 'backup',
  hosts: ['web-01', 'web-02'],
  args: ['a b', '$(id)', '', '\'"\n'],
  username: 'alice',
  token: 't0k3n',
  sourceIp: '192.0.2.7',
  timestamp: '2026-01-02T03:04:05Z',
};
const ask = async (
  path: string,
  changes: Partial<HookContext> = {},
  timeoutSeconds = 10,
  trust: FileTrust = 'strict',
) => {
  const hook = processAuthHook({ path, timeoutSeconds, trust, files: nodeFileSystem() });
  return value(await hook.ask({ ...context, ...changes }));
};

/** A hook that writes what it was told to a file and allows. */
const recorder = (name: string) => {
  const target = join(directory, name);
  const path = node(
    `const fs = require('fs'); fs.writeFileSync(${JSON.stringify(target)},
       JSON.stringify({ argv: process.argv.slice(2), env: process.env, input: fs.readFileSync(0, 'utf8') }))`,
  );
  const told = () =>
    JSON.parse(readFileSync(target, 'utf8')) as {
      argv: string[];
      env: Record<string, string>;
      input: string;
    };
  return { path, told };
};

const own = process.env['ENVEXEC_DISPATCHER'];
const home = process.env['HOME'];
afterEach(() => {
  if (home === undefined) delete process.env['HOME'];
  else process.env['HOME'] = home;
});
afterEach(() => {
  if (own === undefined) delete process.env['ENVEXEC_DISPATCHER'];
  else process.env['ENVEXEC_DISPATCHER'] = own;
});

describe('what a hook is told', () => {
  test('the context, as JSON on standard input and as variables beside the own ones', async () => {
    const { path, told } = recorder('told');
    expect(await ask(path)).toEqual({ kind: 'exited', code: 0 });
    const { argv, env, input } = told();
    const { sourceIp, ...rest } = context;
    expect(JSON.parse(input)).toEqual({ ...rest, source_ip: sourceIp });
    expect(argv).toEqual([]);
    expect(env).toMatchObject({
      PATH: process.env['PATH'],
      ENVEXEC_ACTION: 'run',
      ENVEXEC_SCRIPT: 'backup',
      ENVEXEC_HOSTS: 'web-01,web-02',
      ENVEXEC_USERNAME: 'alice',
      ENVEXEC_TOKEN: 't0k3n',
      ENVEXEC_SOURCE_IP: '192.0.2.7',
      ENVEXEC_TIMESTAMP: '2026-01-02T03:04:05Z',
      ENVEXEC_ARGS: context.args.join(' '),
      ENVEXEC_ARGS_JSON: JSON.stringify(context.args),
    });
  });

  test('half a megabyte of arguments, whole on standard input', async () => {
    const { path, told } = recorder('large');
    const args = Array.from({ length: 5_000 }, (_, index) => `${index}`.padEnd(100, 'x'));
    expect(await ask(path, { args })).toEqual({ kind: 'exited', code: 0 });
    expect((JSON.parse(told().input) as HookContext).args).toEqual(args);
    expect(Object.keys(told().env)).not.toContain('ENVEXEC_ARGS');
  });

  test('the home of its account, where this process has none', async () => {
    delete process.env['HOME'];
    const { path, told } = recorder('home');
    await ask(path);
    expect(told().env['HOME']).toBe(userInfo().homedir);
  });

  test('no ENVEXEC variable of this process passes for the context', async () => {
    const { path, told } = recorder('stale');
    process.env['ENVEXEC_DISPATCHER'] = 'forged';
    await ask(path);
    expect(Object.keys(told().env)).not.toContain('ENVEXEC_DISPATCHER');
  });
});

describe('a hook that is not run', () => {
  const writable = file('#!/bin/sh\n');
  chmodSync(writable, 0o757);
  test.each<[string, string, string]>([
    [
      'writable by everybody',
      writable,
      `hook ${writable} is not trusted: ${writable} is writable by everybody: chmod go-w ${writable}`,
    ],
    ['missing', join(directory, 'missing'), `hook file ${join(directory, 'missing')} does not exist`],
    ['a relative path', 'hook.sh', 'hook path hook.sh is not absolute'],
    ['a device', '/dev/null', 'hook file /dev/null: EINVAL'],
    ['a directory', directory, `hook ${directory} is not a file`],
    ['not executable', file('#!/bin/sh\n', 0o644), 'not executable, or not a file (EACCES)'],
    ['without its interpreter', file('#!/no/such\n'), 'its interpreter does not exist (ENOENT)'],
  ])('%s', async (_what, path, reason) => {
    expect(await ask(path)).toEqual({ kind: 'not-run', reason });
  });

  test('writable by its group, unless that is only to be warned of', async () => {
    const path = shell('exit 0');
    chmodSync(path, 0o775);
    const reason = `hook ${path} is not trusted: ${path} is writable by its group: chmod go-w ${path}`;
    expect(await ask(path)).toEqual({ kind: 'not-run', reason });
    expect(await ask(path, {}, 10, 'warn')).toEqual({ kind: 'exited', code: 0 });
  });

  const never = shell('exit 0');
  test.each<[string, Partial<HookContext>]>([
    ['ENVEXEC_SCRIPT', { script: 'a\0' }],
    ['ENVEXEC_USERNAME', { username: '\0' }],
    ['ENVEXEC_TOKEN', { token: 'a\0b' }],
    ['ENVEXEC_ARGS', { args: ['fine', 'a\0b'] }],
    ['ENVEXEC_HOSTS', { hosts: ['a\0b'] }],
    ['ENVEXEC_DISPATCHER', { dispatcher: { id: '\0', serial: '1a' } }],
  ])('a NUL in %s', async (name, changes) => {
    expect(await ask(never, changes)).toEqual({ kind: 'not-run', reason: `NUL in ${name}` });
  });

  test('a value beyond what a variable can hold denies, it is not cut', async () => {
    const outcome = await ask(never, { token: 'x'.repeat(200_000) });
    expect(outcome).toEqual({ kind: 'not-run', reason: "arguments exceed the system's limit (E2BIG)" });
  });
});

describe('how a hook behaves', () => {
  const large = { args: ['x'.repeat(500_000)] };

  test('one that never reads its input, or closes it, is judged by its exit code', async () => {
    expect(await ask(shell('exit 2'), large)).toEqual({ kind: 'exited', code: 2 });
    expect(await ask(shell('exec <&-; sleep 0.1; exit 3'), large)).toEqual({ kind: 'exited', code: 3 });
  });

  test('one that prints megabytes is not held up', async () => {
    expect(await ask(shell('yes | head -c 20000000; yes | head -c 20000000 >&2; exit 1'))).toEqual({
      kind: 'exited',
      code: 1,
    });
  });

  test('one that runs out of time is killed with its whole group, SIGTERM ignored or not', async () => {
    const pids = join(directory, 'pids');
    const path = shell(`trap '' TERM; echo $$ > ${pids}; sh -c 'echo $$; exec sleep 1000' >> ${pids} & wait`);
    const asked = ask(path, {}, 0.5);
    const read = (): number[] => {
      try {
        return readFileSync(pids, 'utf8').trim().split('\n').map(Number);
      } catch {
        return [];
      }
    };
    await eventually(() => read().length === 2);
    expect(await asked).toEqual({ kind: 'timed-out', seconds: 0.5 });
    await eventually(() => read().every((pid) => !isAlive(pid)));
  });

  test('a daemon that it leaves behind delays nothing', async () => {
    const pid = join(directory, 'left');
    expect(await ask(shell(`sh -c 'echo $$ > ${pid}; exec sleep 1000' & exit 0`))).toEqual({
      kind: 'exited',
      code: 0,
    });
    const read = (): string => {
      try {
        return readFileSync(pid, 'utf8');
      } catch {
        return '';
      }
    };
    await eventually(() => read().endsWith('\n'));
    process.kill(Number(read()), 'SIGKILL');
  });
});
