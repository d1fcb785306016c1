import { execFile, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { processAuthHook } from '../../../src/adapters/child-process/auth-hook.js';
import { nodeFileSystem } from '../../../src/adapters/files/file-system.js';
import type { HookContext, HookOutcome } from '../../../src/domain/runs/auth-hook.js';
import { value } from '../../contract/result.js';
import { serveApi, setSettings } from '../../support/api/process.js';
import { shared, temporaryDirectory } from '../../support/commands/commands.js';
import { at, pairedFleet, runJson } from '../../support/fleet/fleet.js';

const examples = fileURLToPath(new URL('../../../examples/hooks/', import.meta.url));
const readme = readFileSync(join(examples, 'README.md'), 'utf8');

/** The table, token file or policy of each hook. */
const policyOf = {
  'allow-by-table': 'hook-policy',
  'require-token.mjs': 'hook-tokens',
  'agent-argument-policy.mjs': 'argument-policy.json',
} as const;
type HookName = keyof typeof policyOf;

interface Installed {
  readonly directory: string;
  readonly hook: string;
  /** Where its policy is looked for first. */
  readonly policy: string;
}

/** A copy in a directory of its own, with this policy beside it. `change` is made to the text of the hook. */
function install(name: HookName, policy?: string, change = (text: string) => text): Installed {
  const directory = temporaryDirectory();
  const hook = join(directory, name);
  writeFileSync(hook, change(readFileSync(join(examples, name), 'utf8')));
  chmodSync(hook, 0o755);
  const beside = join(directory, policyOf[name]);
  if (policy !== undefined) {
    writeFileSync(beside, policy);
    chmodSync(beside, 0o600);
  }
  return { directory, hook, policy: beside };
}

/** The same, with `etc` in its directory in place of /etc. */
function installWithEtc(name: HookName, policy?: string) {
  const etc = temporaryDirectory();
  return { etc, ...install(name, policy, (text) => text.replaceAll('/etc/', `${etc}/`)) };
}

const question: HookContext = {
  action: 'run',
  script: 'deploy',
  hosts: ['web-01'],
  args: [],
  username: 'alice',
  token: '',
  sourceIp: '127.0.0.1',
  timestamp: '2026-01-02T03:04:05Z',
};
const fromAgent = { hosts: [], dispatcher: { id: 'control', serial: '1a2b' } };

/** The hook's exit code, as the product finds it out; what else it came to, where it did not exit. */
async function ask({ hook }: Installed, changes: Partial<HookContext> = {}): Promise<number | HookOutcome> {
  const adapter = processAuthHook({
    path: hook,
    timeoutSeconds: 25,
    trust: 'strict',
    files: nodeFileSystem(),
  });
  const outcome = value(await adapter.ask({ ...question, ...changes }));
  return outcome.kind === 'exited' ? outcome.code : outcome;
}

/** What the questions about each of these values come to: one verdict where it is the same for all, else their list. */
async function askEach<T>(
  hook: Installed,
  values: readonly T[],
  question: (value: T) => Partial<HookContext>,
): Promise<unknown> {
  const verdicts = await Promise.all(values.map((value) => ask(hook, question(value))));
  return new Set(verdicts).size === 1 ? verdicts[0] : verdicts;
}

/** A line of the token file, made as the README says. */
function tokenLine(token: string, ...words: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(join(examples, 'require-token.mjs'), ['--add', ...words], {
    input: token,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** What is not the name `alice`, and must not come to pass for it. */
const hostile = [
  ...[
    '*',
    '?????',
    'a*',
    '[a-z]lice',
    '-',
    '--',
    '#',
    '',
    '$(touch x)',
    '`id`',
    '"alice"',
    "al'ice",
    'alice\\',
  ],
  ...['alice\n', '\nalice', 'alice\nroot', 'alice smith', ' alice', 'alice,bob'],
  ...['ALICE', 'аlice', 'alicé', 'a'.repeat(100_000)],
];

const aTable = [
  '# who     what            script          where',
  'alice     run             deploy,restart  web-*,db-01',
  '',
  '  alice\tdiscovery\t-\t-  ',
  'bob       run             *               web-01',
  'ci        run             deploy          staging-??',
  '*         ping            -               *',
  '',
].join('\n');

const shells = [
  { shell: '/bin/sh', path: undefined },
  { shell: 'bash as sh', path: '/bin/bash' },
];

describe.each(shells)('allow-by-table, under $shell', ({ path }) => {
  const missing = path !== undefined && !existsSync(path);
  const test = it.skipIf(missing);
  const table = (policy?: string) => {
    if (path === undefined) return install('allow-by-table', policy);
    const sh = join(temporaryDirectory(), 'sh');
    symlinkSync(path, sh);
    return install('allow-by-table', policy, (text) => text.replace('#!/bin/sh', `#!${sh}`));
  };
  const named = (name: string) => (missing ? `${name} (skipped: there is no ${path})` : name);

  test(named('a request is allowed when one line fits its user, action, script and host'), async () => {
    const hook = table(aTable);
    expect(await ask(hook)).toBe(0);
    expect(await ask(hook, { script: 'restart', hosts: ['db-01'] })).toBe(0);
    expect(await ask(hook, { username: 'bob', script: 'whatever' })).toBe(0);
    expect(await ask(hook, { username: 'ci', hosts: ['staging-12'] })).toBe(0);
    expect(await ask(hook, { username: 'nobody', action: 'ping', script: '', hosts: ['x', 'y:1'] })).toBe(0);
    expect(await ask(hook, { action: 'discovery', script: '', hosts: [] })).toBe(0);
  });

  test(named('a user whom the table knows gets 3 for what it does not allow'), async () => {
    const hook = table(aTable);
    expect(await ask(hook, { script: 'backup' })).toBe(3);
    expect(await ask(hook, { script: '' })).toBe(3);
    expect(await ask(hook, { action: 'discovery', script: '' })).toBe(3);
    expect(await ask(hook, { action: 'ping', script: 'deploy' })).toBe(3);
    expect(await ask(hook, { action: 'rotate' })).toBe(3);
    expect(await ask(hook, { username: 'ci', hosts: ['staging-123'] })).toBe(3);
    expect(await ask(hook, { username: 'bob', hosts: ['web-02'] })).toBe(3);
    expect(await ask(hook, { hosts: [] })).toBe(3);
  });

  test(named('a user whom it does not know gets 1'), async () => {
    const hook = table('alice run deploy web-01\n');
    expect(await ask(hook, { username: 'mallory' })).toBe(1);
    expect(await ask(hook, { username: '' })).toBe(1);
  });

  test(named('one host that is not allowed, wherever it stands, denies them all'), async () => {
    const hook = table(aTable);
    const fine = ['web-01', 'web-02', 'db-01', 'web-03.example.com'];
    expect(await ask(hook, { hosts: fine })).toBe(0);
    for (let place = 0; place <= fine.length; place += 1)
      expect(await ask(hook, { hosts: fine.toSpliced(place, 0, 'db-02') })).toBe(3);
    expect(await ask(hook, { username: 'bob', hosts: ['web-01', 'web-02'] })).toBe(3);
  });

  test(named('a host in several lines needs one that fits all the rest'), async () => {
    const hook = table('alice run deploy web-01\nalice run restart web-02\nalice ping * web-03\n');
    expect(await ask(hook, { hosts: ['web-01'] })).toBe(0);
    expect(await ask(hook, { hosts: ['web-01', 'web-02'] })).toBe(3);
    expect(await ask(hook, { hosts: ['web-03'] })).toBe(3);
  });

  test(named('what a caller says is never a pattern, nor part of another value'), async () => {
    const hook = table('alice run deploy web-01\n');
    for (const value of hostile) {
      const hosts = [{ hosts: ['web-01', value] }, { hosts: [value, 'web-01'] }];
      const questions = [{ username: value }, { script: value }, ...hosts];
      for (const changes of questions) expect([1, 3]).toContain(await ask(hook, changes));
    }
  });

  test(named('only the very name in the table is that name, whatever is tried'), async () => {
    const hook = table('a-b run a-b a-b\n');
    const pieces = [...'*?[]!\\-ab\n \t$0"\'~', 'a-b', '[a-b]'];
    const value = fc.oneof(fc.string({ unit: fc.constantFrom(...pieces), maxLength: 4 }), fc.constant('a-b'));
    await fc.assert(
      fc.asyncProperty(
        value,
        value,
        fc.array(value, { minLength: 1, maxLength: 3 }),
        async (user, script, hosts) => {
          const right = [user, script, ...hosts].every((each) => each === 'a-b');
          expect((await ask(hook, { username: user, script, hosts })) === 0).toBe(right);
        },
      ),
      { numRuns: 50 },
    );
  });

  test(named('what cannot be compared is denied even where everything is allowed'), async () => {
    const hook = table('* * * *\n');
    expect(await ask(hook, { hosts: ['[fe80::1%eth0]:7443', '10.0.0.7', 'WEB_1'] })).toBe(0);
    const values = ['a b', 'a\n', '*', 'a"', 'é', 'a'.repeat(256), '$x'];
    expect(await askEach(hook, values, (username) => ({ username }))).toBe(1);
    expect(await askEach(hook, values, (script) => ({ script }))).toBe(1);
    expect(await askEach(hook, values, (host) => ({ hosts: ['web-01', host] }))).toBe(1);
    expect(await askEach(hook, ['web-01,', ',web-01', 'a,,b'], (list) => ({ hosts: list.split(',') }))).toBe(
      1,
    );
  });

  test(
    named('more hosts than the environment holds are denied, arguments of any size are not its affair'),
    async () => {
      const hook = table('* * * *\n');
      const hosts = (count: number) => Array.from({ length: count }, (_, index) => `web-${10_000 + index}`);
      expect(await ask(hook, { hosts: hosts(6_000) })).toBe(0);
      expect(await ask(hook, { hosts: [...hosts(5_999), 'a b'] })).toBe(1);
      expect(await ask(hook, { hosts: hosts(7_000) })).toBe(1);
      expect(await ask(hook, { args: ['x'.repeat(300_000), '*', '\n'] })).toBe(0);
    },
  );

  test(named('at an agent there are no hosts'), async () => {
    expect(await ask(table('alice run deploy -\n'), fromAgent)).toBe(0);
    expect(await ask(table('alice run deploy web-*\n'), fromAgent)).toBe(3);
  });

  test.each([
    ['too few columns', 'alice run deploy\n'],
    ['too many columns', 'alice run deploy web-01 # why\n'],
    ['a bracket', '[a-z]* run deploy *\n'],
    ['a backslash', 'al\\ice run deploy *\n'],
    ['a quote', '"alice" run deploy *\n'],
    ['an empty place in a list', 'alice run deploy web-01,,web-02\n'],
    ['a list that begins with a comma', 'alice run deploy ,web-01\n'],
    ['a list that ends with a comma', 'alice run deploy web-01,\n'],
    ['line ends of another system', 'alice run deploy *\r\n'],
    ['a byte order mark', '\uFEFFalice run deploy *\n'],
    ['an umlaut in a name', 'älice run deploy *\n'],
    ['a last line that was cut off', 'alice run deploy *'],
  ])(named('a table with %s allows nothing, not even by its other lines'), async (_, line) => {
    const hook = table(`alice run deploy web-01\n${line}`);
    expect(await ask(hook)).toBe(1);
    writeFileSync(hook.policy, `# ${line.trim()} äöü\nalice run deploy web-01\n`);
    expect(await ask(hook)).toBe(0);
  });

  test(named('an empty table allows nothing'), async () => {
    expect(await ask(table(''))).toBe(1);
    expect(await ask(table('# nobody\n\n'))).toBe(1);
  });

  test(named('the directory that it runs in is not looked at'), async () => {
    // At /, where hooks run, `*` and `?`-patterns would find files.
    const hook = table('alice run deploy ???\n');
    expect(await ask(hook, { hosts: ['xyz'] })).toBe(0);
    expect(await ask(hook, { hosts: ['etc4'] })).toBe(3);
  });
});

describe('require-token', () => {
  const secret = 'correct horse battery staple';
  const tokens = shared(async () => ({
    alice: tokenLine(`${secret}\n`, 'alice', 'run:deploy,ping'),
    second: tokenLine('another token of alice', 'alice', 'discovery'),
    root: tokenLine('the token of the root user', 'root', '*'),
  }));
  const installed = () => {
    const { alice, second, root } = tokens();
    return install('require-token.mjs', `# tokens\n\n${alice}${second}  ${root}`);
  };

  it('allows what the token of this user is for', async () => {
    const hook = installed();
    expect(await ask(hook, { token: secret })).toBe(0);
    expect(await ask(hook, { token: secret, action: 'ping', script: '' })).toBe(0);
    expect(await ask(hook, { token: 'another token of alice', action: 'discovery' })).toBe(0);
    const root = { username: 'root', token: 'the token of the root user' };
    expect(await ask(hook, { ...root, script: 'anything' })).toBe(0);
    expect(await ask(hook, { ...root, action: 'rotate' })).toBe(0);
    expect(await ask(hook, { ...fromAgent, token: secret })).toBe(0);
  });

  it('the right token for something else is 3', async () => {
    const hook = installed();
    expect(await ask(hook, { token: secret, script: 'restart' })).toBe(3);
    expect(await ask(hook, { token: secret, script: '' })).toBe(3);
    expect(await ask(hook, { token: secret, action: 'discovery' })).toBe(3);
    expect(await ask(hook, { token: secret, script: 'deploy,ping' })).toBe(3);
    expect(await ask(hook, { token: secret, action: 'run:deploy', script: '' })).not.toBe(2);
    expect(await ask(hook, { token: 'another token of alice' })).toBe(3);
  });

  it('no token, another one, or another user’s is 2', async () => {
    const hook = installed();
    const near = [`${secret} `, `${secret}\n`, secret.toUpperCase(), secret.slice(0, -1)];
    const foreign = ['the token of the root user', tokens().alice.split(' ')[2] ?? '', 'é'.repeat(20)];
    const others = ['', '*', ...near, ...foreign, 'x'.repeat(100_000)];
    expect(await askEach(hook, others, (token) => ({ token }))).toBe(2);
    const users = ['root', '', '#', 'alice\n', 'alice smith', 'Alice', '*', '__proto__'];
    expect(await askEach(hook, users, (username) => ({ username, token: secret }))).toBe(2);
  });

  it('reads a request of any size', async () => {
    const hook = installed();
    const much = { args: ['x'.repeat(1_000_000), '"\n\u{1F600}'], hosts: Array(20_000).fill('web-01') };
    expect(await ask(hook, { token: secret, ...much })).toBe(0);
    expect(await ask(hook, { token: `${secret}!`, ...much })).toBe(2);
  });

  it('a line that is not what --add prints lets nobody in', async () => {
    const { alice } = tokens();
    const [user, actions, hash = ''] = alice.trim().split(' ');
    const lines = [
      `${user} ${actions}`,
      `${user} ${actions} ${secret}`,
      `${user} ${actions} ${hash.slice(0, -1)}`,
      `${user} ${actions} ${hash}=`,
      `${user} ${actions} ${hash} more`,
      `${user} run, ${hash}`,
      `${user} run,*:x ${hash}`,
      `${user} ${actions} ${hash.replace(':14:', ':30:')}`,
      `${user} ${actions} ${hash}\r`,
    ].map((line) => install('require-token.mjs', `${alice}${line}\n`));
    const verdicts = await Promise.all(lines.map((hook) => ask(hook, { token: secret })));
    expect(new Set(verdicts)).toEqual(new Set([1]));
    expect(await ask(install('require-token.mjs', ''), { token: secret })).toBe(2);
  });

  it('wants a token file that others cannot read', async () => {
    const hook = installed();
    chmodSync(hook.policy, 0o644);
    expect(await ask(hook, { token: secret })).toBe(1);
    chmodSync(hook.policy, 0o640);
    expect(await ask(hook, { token: secret })).toBe(0);
  });

  it('--add takes one line of at least 16 characters, from no terminal, and prints a salted hash', async () => {
    const line = tokenLine(`${secret}\r\n`, 'bob');
    expect(line).toMatch(/^bob run,ping,discovery scrypt:14:[\w-]{22}:[\w-]{43}\n$/);
    expect(tokenLine(secret, 'bob')).not.toBe(line);
    expect(await ask(install('require-token.mjs', line), { username: 'bob', token: secret })).toBe(0);
    const refused = (input: string, ...words: string[]) => {
      const ended = spawnSync(join(examples, 'require-token.mjs'), words, { input, encoding: 'utf8' });
      expect(ended).toMatchObject({ status: 64, stdout: '' });
      expect(ended.stderr).toMatch(/^require-token: .*\n$/);
    };
    for (const input of ['\n', 'x'.repeat(15), `${secret}\n${secret}`]) refused(input, '--add', 'bob');
    for (const user of ['bob smith', '#bob']) refused(secret, '--add', user);
    for (const actions of ['run,', 'run deploy']) refused(secret, '--add', 'bob', actions);
    refused(secret, '--add');
    refused(secret, '--remove', 'bob');
  });

  it('never prints a token, whatever is wrong', () => {
    const hook = installed();
    const request = { action: 'run', script: 'deploy', username: 'alice', token: secret };
    const whole = JSON.stringify(request);
    const inputs = [
      whole,
      `${whole},`,
      whole.slice(0, -1),
      secret,
      `"${secret}"`,
      JSON.stringify({ ...request, script: 'x' }),
      JSON.stringify({ ...request, username: 'bob' }),
      JSON.stringify({ ...request, token: [secret] }),
      JSON.stringify({ token: secret }),
      'null',
      '',
    ];
    const ended = inputs.map((input) => spawnSync(hook.hook, { input, encoding: 'utf8' }));
    expect(ended.map(({ status }) => status)).toEqual([0, 1, 1, 1, 1, 3, 2, 1, 1, 1, 1]);
    for (const { stdout, stderr } of ended) {
      expect(stdout).toBe('');
      expect(stderr).not.toMatch(/correct|horse|at .*:\d+/);
    }
  });
});

describe('agent-argument-policy', () => {
  const policy = (scripts: object) => install('agent-argument-policy.mjs', JSON.stringify({ scripts }));
  const run = (hook: Installed, ...args: string[]) => ask(hook, { ...fromAgent, args });
  /** All of them at once, each in its place. */
  const accepted = (rule: object, ...args: string[]) =>
    run(policy({ deploy: { arguments: args.map(() => rule) } }), ...args);
  /** Each of them alone. */
  const refused = (rule: object, ...args: string[]) =>
    askEach(policy({ deploy: { arguments: [rule] } }), args, (arg) => ({ ...fromAgent, args: [arg] }));

  it('denies a script that it does not name, and arguments where there is no rule for them', async () => {
    const hook = policy({ uptime: {} });
    expect(await ask(hook, { ...fromAgent, script: 'uptime' })).toBe(0);
    expect(await ask(hook, { ...fromAgent, script: 'uptime', args: [''] })).toBe(1);
    const scripts = ['deploy', '', 'uptime\n', '__proto__', 'constructor', '*'];
    expect(await askEach(hook, scripts, (script) => ({ ...fromAgent, script }))).toBe(1);
  });

  it('takes as many arguments as there are rules, less the optional ones', async () => {
    const hook = policy({
      deploy: {
        arguments: [{ pattern: 'a' }, { oneOf: ['b'] }, { pattern: 'c', optional: true }],
        rest: { pattern: 'd', atMost: 2 },
      },
    });
    const each = (...lines: string[][]) => askEach(hook, lines, (args) => ({ ...fromAgent, args }));
    expect(await each(['a', 'b'], ['a', 'b', 'c'], ['a', 'b', 'c', 'd'], ['a', 'b', 'c', 'd', 'd'])).toBe(0);
    expect(await each([], ['a'], ['a', 'c'], ['b', 'a'], ['a', 'b', 'd'])).toBe(1);
    expect(await each(['a', 'b', 'c', 'd', 'd', 'd'], ['a', 'b', 'c', 'd', 'c'], ['a b'])).toBe(1);
  });

  it('a pattern is for the whole argument', async () => {
    const rule = { pattern: 'v[0-9]+' };
    expect(await accepted(rule, 'v1', 'v22')).toBe(0);
    expect(
      await refused(rule, 'v1;reboot', 'xv1', 'v1\n', 'v1\nv1', 'v', '', ' v1', 'v１', '"v1"', '*'),
    ).toBe(1);
    expect(await accepted({ pattern: 'a|b' }, 'a', 'b')).toBe(0);
    expect(await refused({ pattern: 'a|b' }, 'ax', 'xb')).toBe(1);
    expect(await refused({ pattern: '^a$|b' }, 'xb', 'bx', 'a\nb')).toBe(1);
  });

  it('the widest pattern lets no line end, no parent directory, no option and nothing endless through', async () => {
    const widest = { pattern: '[^]*' };
    const fine = [...'a b|*|/etc/x|a..b|...|\'|"|日本 \u{1F600}|$(id)'.split('|'), '', 'x'.repeat(256)];
    expect(await accepted(widest, ...fine)).toBe(0);
    expect(await refused(widest, 'a\nb', '\n', 'a\r', '\t', '\u001b[2J', '\u0085', '\u2028')).toBe(1);
    expect(await refused(widest, '..', '../x', 'x/..', '/a/../b')).toBe(1);
    expect(await refused(widest, '-', '--force', 'x'.repeat(257), 'x'.repeat(900_000))).toBe(1);
    const longer = { pattern: '.*', maxLength: 1_000 };
    expect(await accepted(longer, 'x'.repeat(1_000))).toBe(0);
    expect(await refused(longer, 'x'.repeat(1_001))).toBe(1);
    const option = { pattern: '--level=[0-9]' };
    expect(await accepted(option, '--level=3')).toBe(0);
    expect(await refused(option, '--level=33', '--level=3/../3')).toBe(1);
  });

  it('a list is matched exactly, and may name what a pattern cannot', async () => {
    const values = ['a*', 'x y', 'é', '', '-f', '../x', '\n'];
    expect(await accepted({ oneOf: values }, ...values)).toBe(0);
    expect(await refused({ oneOf: values }, 'ab', 'x  y', 'e\u0301', ' ', 'a*\n', '-g')).toBe(1);
  });

  it('another dispatcher or user than those that it names is 3', async () => {
    const hook = policy({ deploy: { dispatchers: ['control'], users: ['alice', 'b c'] }, uptime: {} });
    expect(await ask(hook, fromAgent)).toBe(0);
    expect(await ask(hook, { ...fromAgent, username: 'b c' })).toBe(0);
    const others = ['', 'bob', 'Alice', 'alice ', 'alice,b c', '*'];
    expect(await askEach(hook, others, (username) => ({ ...fromAgent, username }))).toBe(3);
    const elsewhere = { ...fromAgent, dispatcher: { id: 'control2', serial: '1a2b' } };
    expect(await ask(hook, elsewhere)).toBe(3);
    expect(await ask(hook, { ...elsewhere, script: 'uptime', username: '' })).toBe(0);
  });

  it('decides runs at an agent, and nothing else', async () => {
    const hook = policy({ deploy: {} });
    expect(await ask(hook, fromAgent)).toBe(0);
    expect(await ask(hook)).toBe(1);
    expect(await ask(hook, { ...fromAgent, action: 'status' })).toBe(1);
  });

  it('judges arguments that are too many for the environment', async () => {
    const hook = policy({ deploy: { rest: { pattern: 'file-[0-9]+', atMost: 10_000 } } });
    const args = Array.from({ length: 10_000 }, (_, index) => `file-${index}`);
    expect(await ask(hook, { ...fromAgent, args })).toBe(0);
    expect(await ask(hook, { ...fromAgent, args: args.with(9_999, 'x') })).toBe(1);
    expect(await ask(hook, { ...fromAgent, args: [...args, 'file-1'] })).toBe(1);
  });

  const within = (rules: string) => `{"scripts":{"deploy":{},"other":{${rules}}}}`;
  it.each([
    ['no object', '[]'],
    ['no scripts', '{}'],
    ['scripts that are a list', '{"scripts":[]}'],
    ['an unknown key', '{"scripts":{"deploy":{}},"version":1}'],
    ['an unknown key of a script', within('"user":["alice"]')],
    ['an unknown key of a rule', within('"arguments":[{"patern":"a"}]')],
    ['a rule without a kind', within('"arguments":[{}]')],
    ['a rule of two kinds', within('"arguments":[{"oneOf":["a"],"pattern":"a"}]')],
    ['no expression', within('"arguments":[{"pattern":"("}]')],
    ['an expression that leaves its frame', within('"arguments":[{"pattern":"a)|(?:b"}]')],
    ['a length that is none', within('"arguments":[{"pattern":"a","maxLength":"9"}]')],
    ['required after optional', within('"arguments":[{"pattern":"a","optional":true},{"pattern":"b"}]')],
    ['rest without an end', within('"rest":{"pattern":"a"}')],
    ['users that are no list', within('"users":"alice"')],
    ['nothing in it', ''],
    ['its end cut off', within('').slice(0, -1)],
    ['a comment', `# policy\n${within('')}`],
  ])('a policy with %s allows nothing, not even by its other parts', async (_, text) => {
    expect(await ask(install('agent-argument-policy.mjs', text), fromAgent)).toBe(1);
  });

  it('a policy with nothing of the kind does', async () => {
    expect(await ask(install('agent-argument-policy.mjs', within('')), fromAgent)).toBe(0);
  });
});

describe.each(Object.keys(policyOf) as HookName[])('%s', (name) => {
  const token = 'a token that is long enough';
  const policies = shared(
    async (): Promise<Record<HookName, string>> => ({
      'allow-by-table': 'alice run deploy *\n',
      'require-token.mjs': tokenLine(token, 'alice'),
      'agent-argument-policy.mjs': '{"scripts":{"deploy":{}}}',
    }),
  );
  const verdict = (hook: Installed) =>
    ask(hook, { token, ...(name === 'agent-argument-policy.mjs' && fromAgent) });

  it('denies without its policy, or with a link to nowhere or a directory in its place', async () => {
    const hook = installWithEtc(name);
    expect(await verdict(hook)).toBe(1);
    symlinkSync(join(hook.directory, 'nowhere'), hook.policy);
    expect(await verdict(hook)).toBe(1);
    rmSync(hook.policy);
    mkdirSync(hook.policy);
    expect(await verdict(hook)).toBe(1);
  });

  it('takes the policy beside it, and only where there is none that of the system', async () => {
    const { etc, ...hook } = installWithEtc(name);
    const home = name === 'agent-argument-policy.mjs' ? 'ctrl-exec-agent' : 'ctrl-exec';
    mkdirSync(join(etc, home));
    const system = join(etc, home, policyOf[name]);
    writeFileSync(system, policies()[name], { mode: 0o600 });
    expect(await verdict(hook)).toBe(0);
    writeFileSync(hook.policy, 'not a policy', { mode: 0o600 });
    expect(await verdict(hook)).toBe(1);
  });

  it('denies with a policy that others can write to, also behind a link', async () => {
    const hook = install(name, policies()[name]);
    const link = install(name);
    symlinkSync(hook.policy, link.policy);
    for (const mode of [0o602, 0o620]) {
      chmodSync(hook.policy, mode);
      expect(await verdict(hook)).toBe(1);
      expect(await verdict(link)).toBe(1);
    }
    chmodSync(hook.policy, 0o600);
    expect(await verdict(hook)).toBe(0);
    expect(await verdict(link)).toBe(0);
  });

  const isRoot = process.getuid?.() === 0;
  it.skipIf(!isRoot)(
    isRoot
      ? 'denies with a policy of another user'
      : 'denies with a policy of another user (skipped: only root can give files away)',
    async () => {
      const hook = install(name, policies()[name]);
      chownSync(hook.policy, 65_534, 65_534);
      expect(await verdict(hook)).toBe(1);
    },
  );

  it('is refused by ctrl-exec when everybody can write to it', async () => {
    const hook = install(name, policies()[name]);
    chmodSync(hook.hook, 0o757);
    expect(await verdict(hook)).toMatchObject({ kind: 'not-run' });
  });

  it('is executable as it is shipped', () => {
    expect(spawnSync(join(examples, name), { input: '', env: { PATH: process.env['PATH'] } }).status).toBe(1);
  });
});

describe('the README of the hooks', () => {
  const consoles = [...readme.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map(([, text = '']) => text);

  it('shows three sessions', () => {
    expect(consoles).toHaveLength(3);
  });

  it.each(consoles)('shows what happens: %s', (session) => {
    const directory = temporaryDirectory();
    cpSync(examples, directory, { recursive: true });
    const lines = session.trimEnd().split('\n');
    const typed = lines.filter((line) => line.startsWith('$ ')).map((line) => line.slice(2));
    const shown = lines.filter((line) => !line.startsWith('$ '));
    const env = { PATH: process.env['PATH'] };
    const script = `exec 2>&1\n${typed.join('\n')}\n`;
    const { stdout } = spawnSync('/bin/sh', ['-c', script], { cwd: directory, env, encoding: 'utf8' });
    expect(stdout.trimEnd().split('\n')).toEqual(shown);
  });
});

describe('the hooks in the product', () => {
  const echo = '#!/bin/sh\nprintf "<%s>" "$@"\n';
  const fleet = shared(async () => {
    const policy = install('agent-argument-policy.mjs');
    cpSync(join(examples, 'argument-policy.example.json'), policy.policy);
    chmodSync(policy.policy, 0o644);
    const scripts = { deploy: echo, uptime: echo, reboot: echo };
    const conf = `auth_hook = ${policy.hook}\n`;
    return pairedFleet({ agent: { name: 'web-01', conf, scripts, serves: true } });
  });

  /** `ctrl-exec` with this hook for the dispatcher. */
  const withHook = (hook: string) => {
    const conf = join(temporaryDirectory(), 'ctrl-exec.conf');
    writeFileSync(conf, `dispatcher_id = control\nauth_hook = ${hook}\n`);
    return async (user: string, ...words: string[]) => {
      const [command = '', ...rest] = words;
      const all = ['--config', conf, command, '--username', user, ...rest];
      const { code, stdout, stderr } = await fleet().control.command(...all);
      return { code, said: `${stdout}${stderr}` };
    };
  };
  const denied = (reason: string) => ({ code: 1, said: `Denied: ${reason}\n` });

  it('an agent runs what its argument policy allows, and nothing else', async () => {
    const { control } = fleet();
    const run = async (script: string, args: readonly string[], user = 'alice') => {
      const [result] = await runJson(control, ['web-01'], script, args, ['--username', user]);
      return result?.error ?? result?.stdout;
    };
    expect(await run('deploy', ['v3.1', 'web'])).toBe('<v3.1><web>');
    expect(await run('deploy', ['v3'], 'bob')).toBe('not authorised: insufficient privilege');
    for (const args of [['v3;reboot'], ['v3\n'], ['v3', '*']])
      expect(await run('deploy', args)).toBe('not authorised: denied');
    expect(await run('uptime', [], 'bob')).toBe('<>');
    expect(await run('reboot', [])).toBe('not authorised: denied');
  });

  it('the dispatcher does what the table allows', async () => {
    const table = install('allow-by-table');
    cpSync(join(examples, 'hook-policy.example'), table.policy);
    chmodSync(table.policy, 0o644);
    const as = withHook(table.hook);
    expect(await as('alice', 'run', 'web-01', 'deploy', '--', 'v1')).toMatchObject({
      code: 0,
      said: expect.stringMatching(/^==> web-01 .*\n<v1>/),
    });
    expect(await as('bob', 'run', 'web-01', 'deploy', '--', 'v1')).toEqual(denied('insufficient privilege'));
    expect(await as('alice', 'run', 'web-01', 'vault', 'deploy')).toEqual(denied('insufficient privilege'));
    expect(await as('bob smith', 'run', 'web-01', 'deploy')).toEqual(denied('denied'));
    expect(await as('bob', 'ping', 'web-01')).toMatchObject({ code: 0 });
    chmodSync(table.policy, 0o666);
    expect(await as('alice', 'ping', 'web-01')).toEqual(denied('denied'));
  });

  it('the request of the README is allowed by the table that is shipped', async () => {
    const table = install('allow-by-table');
    cpSync(join(examples, 'hook-policy.example'), table.policy);
    chmodSync(table.policy, 0o644);
    const { control } = fleet();
    setSettings(control, `auth_hook = ${table.hook}`);
    const api = await serveApi(control.home);
    const [, request = ''] =
      /^control\$ (curl [\s\S]*?\/run)\n/m.exec(readFileSync(join(examples, '../../README.md'), 'utf8')) ??
      [];
    const typed = request.replace('127.0.0.1:7445', `127.0.0.1:${api.port}`);
    const env = { PATH: process.env['PATH'], TOKEN: 'some-token' };
    const { stdout } = await promisify(execFile)('/bin/sh', ['-c', typed], { env });
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      results: [{ host: 'web-01', script: 'deploy', stdout: '<v3>' }],
    });
    const bearer = await api.ask('/run', {
      body: { hosts: ['web-01'], script: 'deploy' },
      headers: { authorization: 'Bearer some-token' },
    });
    expect([bearer.status, bearer.json]).toMatchObject([403, { error: 'insufficient privilege' }]);
  });

  it('another way to write a host does not get around the table', async () => {
    const place = at(fleet().agent);
    const as = (table: string) => withHook(install('allow-by-table', table).hook);
    const run = ['run', place, 'deploy', '--', 'v1'];
    expect(await as('alice run deploy web-01\n')('alice', ...run)).toEqual(denied('insufficient privilege'));
    const second = await as('alice run deploy 127.0.0.1:*\n')('alice', ...run);
    expect(second).toMatchObject({ code: 1, said: expect.stringMatching(/insufficient privilege/) });
    expect(second.said).not.toContain('<v1>');
    const both = await as('alice run deploy 127.0.0.1:*,web-01\n')('alice', ...run);
    expect(both).toMatchObject({ code: 0, said: expect.stringContaining('<v1>') });
  });

  it('the dispatcher believes no name without its token; both hooks together want both', async () => {
    const hook = install(
      'require-token.mjs',
      tokenLine('alice, and nobody else', 'alice', 'run:deploy,ping'),
    );
    const file = (token: string) => {
      const path = join(temporaryDirectory(), 'token');
      writeFileSync(path, `${token}\n`);
      return ['--token-file', path];
    };
    const right = file('alice, and nobody else');
    const deploy = ['web-01', 'deploy', '--', 'v1'];
    const as = withHook(hook.hook);
    expect(await as('alice', 'run', ...right, ...deploy)).toMatchObject({ code: 0 });
    expect(await as('alice', 'run', ...right, 'web-01', 'uptime')).toEqual(denied('insufficient privilege'));
    expect(await as('alice', 'run', ...file('alice, and somebody'), ...deploy)).toEqual(
      denied('bad credentials'),
    );
    expect(await as('root', 'run', ...right, ...deploy)).toEqual(denied('bad credentials'));

    const together = /^## Two hooks in one$[\s\S]*?^```sh\n([\s\S]*?)^```$/m.exec(readme)?.[1] ?? '';
    cpSync(join(examples, 'allow-by-table'), join(hook.directory, 'allow-by-table'));
    writeFileSync(join(hook.directory, 'hook-policy'), 'alice,bob run * web-01\n', { mode: 0o644 });
    writeFileSync(join(hook.directory, 'both'), together, { mode: 0o755 });
    const twice = withHook(join(hook.directory, 'both'));
    expect(await twice('alice', 'run', ...right, ...deploy)).toMatchObject({ code: 0 });
    expect(await twice('alice', 'ping', ...right, 'web-01')).toEqual(denied('insufficient privilege'));
    expect(await twice('mallory', 'run', ...right, ...deploy)).toEqual(denied('denied'));
    expect(await twice('bob', 'run', ...right, ...deploy)).toEqual(denied('bad credentials'));
  });
});
