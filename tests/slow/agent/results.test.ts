import { execFile } from 'node:child_process';
import { chmodSync, chownSync, cpSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type HostResult, openDispatcher } from '../../../src/apps/library/index.js';
import { value } from '../../contract/result.js';
import { commandFile, shared, start, temporaryDirectory } from '../../support/commands/commands.js';
import { at, gate, type JsonResult, pairedFleet, runJson, runOne, twin } from '../../support/fleet/fleet.js';

const fleet = shared(async () => {
  const scripts = {
    exit: '#!/bin/sh\necho out\necho err >&2\nexit $1\n',
    signal: '#!/bin/sh\necho before\nkill -$1 $$\n',
    'no-interpreter': '#!/nonexistent/interpreter\n',
    'no-first-line': 'echo this is for no shell\n',
    shell: '#!/bin/sh\neval "$1"\n',
    input: '#!/bin/sh\nexec cat\n',
  };
  const { control, web } = await pairedFleet({ web: { name: 'web-01', scripts } });
  chmodSync(web.script('not-executable', '#!/bin/sh\n'), 0o644);
  writeFileSync(
    join(web.home, 'scripts.conf'),
    ['missing = /nonexistent/script', 'env = /usr/bin/env', 'ls = /bin/ls', 'directory = /usr/bin'].join(
      '\n',
    ),
    { flag: 'a' },
  );
  await web.serve({
    before: `umask 077; exec 3</etc/passwd 7</etc/passwd`,
    env: {
      HOME: '/home-of-the-daemon',
      LANG: 'C.UTF-8',
      LC_TIME: 'C',
      TZ: 'Pacific/Chatham',
      SECRET: 'of-the-daemon',
      LD_PRELOAD: '',
      ENVEXEC_TOKEN: 'of-the-daemon',
    },
  });
  return { control, web };
});

/** Runs a script on the agent's host through the library: what the command prints is tested by itself. */
async function onAgent(script: string, ...args: readonly string[]): Promise<HostResult> {
  await using dispatcher = await openDispatcher({ home: fleet().control.home });
  const [result] = value(await dispatcher.run({ hosts: ['web-01'], script, args })).results;
  if (!result) throw new Error('no result');
  return result;
}

const shell = (text: string): Promise<HostResult> => onAgent('shell', text);

describe('exit codes', () => {
  it.each([0, 1, 2, 77, 126, 127, 255])('%i comes back as it is', async (code) => {
    const { exit, error, stdout, stderr } = await onAgent('exit', String(code));
    expect({ exit, error, stdout, stderr }).toEqual({ exit: code, stdout: 'out\n', stderr: 'err\n' });
  });

  it.each([0, 77])('%i is all of the JSON, and decides how the command ends', async (code) => {
    const { control } = fleet();
    const ended = await control.command('run', '--json', 'web-01', 'exit', '--', String(code));
    const { ok, results } = JSON.parse(ended.stdout);
    expect(ok).toBe(1);
    expect(results).toEqual([
      {
        host: 'web-01',
        script: 'exit',
        ...(code === 0
          ? { state: 'succeeded' }
          : { state: 'failed', failure: { code: 'script_failed', exit: code, may_have_run: true } }),
        exit: code,
        stdout: 'out\n',
        stderr: 'err\n',
        rtt: expect.stringMatching(/^\d+ms$/),
        reqid: expect.stringMatching(/^[0-9a-f]{16}$/),
      },
    ]);
    expect(ended.code).toBe(code === 0 ? 0 : 1);
  });

  it.each([
    ['KILL', 'SIGKILL'],
    ['TERM', 'SIGTERM'],
    ['SEGV', 'SIGSEGV'],
    ['HUP', 'SIGHUP'],
  ])('a script that SIG%s ends is 126 and says so', async (signal, name) => {
    const result = await onAgent('signal', signal);
    expect(result).toMatchObject({ exit: 126, error: `killed by ${name}`, stdout: 'before\n' });
  });

  it.each([
    ['not-executable', /not executable.*\(EACCES\)$/],
    ['no-interpreter', /its interpreter does not exist \(ENOENT\)$/],
    ['no-first-line', /neither a binary nor a script that begins with #! \(ENOEXEC\)$/],
    ['missing', /^\/nonexistent\/script could not be executed: no such file \(ENOENT\)$/],
    ['directory', /\(EACCES\)$/],
  ])('%s: 126 and why', async (script, why) => {
    const result = await onAgent(script);
    expect(result).toMatchObject({ exit: 126, stdout: '', stderr: '' });
    expect(result.error).toMatch(why);
  });

  it('a script that the allowlist does not name is not permitted', async () => {
    const { control } = fleet();
    const { code, stdout } = await control.command('run', 'web-01', 'no-such-script');
    expect(stdout).toMatch(
      /^==> web-01 {2}\[FAIL {2}exit:-1 {2}\d+ms {2}req:[0-9a-f]{16}\]\n {4}ERROR: script not permitted\n$/,
    );
    expect(code).toBe(1);
  });
});

describe('output', () => {
  it('standard error flooded before anything else harms nothing', async () => {
    const flood = 'i=0; while [ $i -lt 20 ]; do head -c 65536 /dev/zero | tr "\\0" e >&2; i=$((i+1)); done';
    const { exit, stdout, stderr } = await shell(`${flood}; echo then`);
    expect({ exit, stdout, length: stderr.length }).toEqual({ exit: 0, stdout: 'then\n', length: 1_310_720 });
  });

  it('8 MiB arrive whole', async () => {
    const { exit, stdout, truncated } = await shell('head -c 8388608 /dev/zero | tr "\\0" x');
    expect(exit).toBe(0);
    expect(truncated).toBeUndefined();
    expect(stdout === 'x'.repeat(8_388_608)).toBe(true);
  });

  it('of 10 MiB, more than max_answer, head and tail are kept, and the total is told', async () => {
    const { exit, stdout, truncated } = await shell(
      'echo first; head -c 10485760 /dev/zero | tr "\\0" x; echo last',
    );
    expect({ exit, truncated }).toEqual({ exit: 0, truncated: { stdout: 10_485_771 } });
    expect(stdout.length).toBe(8_388_608);
    expect([stdout.startsWith('first\n'), stdout.endsWith('last\n')]).toEqual([true, true]);
  });

  it('what is not UTF-8 becomes U+FFFD, everything else stays', async () => {
    const { stdout, stderr } = await shell(
      `printf '\\377a\\303(\\000\\357\\273\\277b\\n\\342\\202'; printf '\\200' >&2`,
    );
    expect(stdout).toBe('\ufffda\ufffd(\0\ufeffb\n\ufffd');
    expect(stderr).toBe('\ufffd');
  });

  it('/dev/stderr, /dev/stdout and /dev/stdin can be opened', async () => {
    const { exit, stdout, stderr } = await shell(
      'echo e > /dev/stderr; echo o > /dev/stdout; wc -l < /dev/stdin',
    );
    expect({ exit, stdout, stderr }).toEqual({ exit: 0, stdout: 'o\n0\n', stderr: 'e\n' });
  });

  it('beyond max_output head and tail are kept and the totals told', async () => {
    const { control, web } = fleet();
    const small = await twin(web, 'max_output = 10\n');
    small.script('count', '#!/bin/sh\nprintf 0123456789abcdef\nprintf 0123456789 >&2\n');
    await small.serve();
    const result = await runOne(control, at(small), 'count');
    expect(result).toMatchObject({
      exit: 0,
      stdout: '01234bcdef',
      stderr: '0123456789',
      truncated: { stdout: 16 },
    });
    expect(result.truncated).toEqual({ stdout: 16 });
    const { stdout } = await control.command('run', at(small), 'count');
    expect(stdout.split('\n').slice(1)).toEqual([
      '    TRUNCATED: stdout: head and tail of 16 bytes',
      '01234bcdef',
      '    STDERR: 0123456789',
      '',
    ]);
  });

  it('a child that keeps the output open does not hold up the answer', async () => {
    const { exit, stdout } = await shell('setsid sleep 20 & echo $!');
    expect(exit).toBe(0);
    // It is there to be killed: the answer came before its end.
    expect(process.kill(Number(stdout), 'SIGKILL')).toBe(true);
  });
});

describe('what a script is given', () => {
  it('one JSON object on standard input, then the end of it', async () => {
    const { control } = fleet();
    const options = ['--username', 'alice "a"', '--token', 't\n1'];
    const before = Date.now();
    const [result] = await runJson(control, ['web-01'], 'input', ['a', 'é\n'], options);
    const given = JSON.parse(result?.stdout ?? '');
    expect(given).toEqual({
      script: 'input',
      args: ['a', 'é\n'],
      reqid: result?.reqid,
      peer_ip: '127.0.0.1',
      username: 'alice "a"',
      token: 't\n1',
      dispatcher: 'control',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    });
    expect(Math.abs(Date.parse(given.timestamp) - before)).toBeLessThan(60_000);
  });

  it('user and token of the environment where the options name none', async () => {
    const { control } = fleet();
    const { stdout } = await start('ctrl-exec', ['run', '--json', 'web-01', 'input'], {
      home: control.home,
      input: '',
      env: { USER: 'bob', ENVEXEC_TOKEN: 'from-environment' },
    }).ended;
    const given = JSON.parse(JSON.parse(stdout).results[0].stdout);
    expect(given).toMatchObject({ username: 'bob', token: 'from-environment', args: [] });
  });

  it('nothing of the environment of the daemon beyond locale, time zone and home', async () => {
    const { stdout } = await onAgent('env', '-0');
    expect(stdout.split('\0').sort().slice(1)).toEqual([
      'HOME=/home-of-the-daemon',
      'LANG=C.UTF-8',
      'LC_TIME=C',
      expect.stringMatching(/^PATH=(\/[a-z/]+:)*\/bin$/),
      'TZ=Pacific/Chatham',
    ]);
  });

  it('a working directory of / and a umask of 022', async () => {
    expect((await shell('pwd; umask')).stdout).toBe('/\n0022\n');
  });

  it('no descriptor but its standard streams', async () => {
    // The third is the directory that is listed.
    const { stdout } = await onAgent('ls', '/proc/self/fd');
    expect(stdout).toBe('0\n1\n2\n3\n');
    const { stdout: links } = await onAgent('ls', '-l', '/proc/self/fd');
    expect(links).not.toContain('passwd');
  });

  it('a session of its own', async () => {
    const { stdout } = await shell('echo $$; ps -o sid= -p $$ | tr -d " "');
    const [pid, session] = stdout.split('\n');
    expect(session).toBe(pid);
  });

  it('a script that never reads its input is not harmed', async () => {
    const long = 'x'.repeat(100_000);
    const { exit, stdout } = await onAgent('shell', 'sleep 0.2; echo fine', long);
    expect({ exit, stdout }).toEqual({ exit: 0, stdout: 'fine\n' });
  });

  it('nor is one that ends before it could', async () => {
    const { exit } = await onAgent('shell', 'exec <&-; exit 3', 'x'.repeat(100_000));
    expect(exit).toBe(3);
  });
});

describe('text output', () => {
  const head = (verdict: string) =>
    new RegExp(`^==> web-01 {2}\\[${verdict} {2}\\d+ms {2}req:[0-9a-f]{16}\\]$`);
  const text = async (command: string) => {
    const { code, stdout, stderr } = await fleet().control.command('run', 'web-01', 'shell', '--', command);
    const [first = '', ...rest] = stdout.split('\n');
    return { code, first, rest: rest.join('\n'), stderr };
  };

  it('standard output as it is, standard error behind its mark, further lines unindented', async () => {
    const { code, first, rest, stderr } = await text('echo a; echo " b"; echo e1 >&2; echo "  e2" >&2');
    expect(first).toMatch(head('OK {2}exit:0'));
    expect(rest).toBe('a\n b\n    STDERR: e1\n  e2\n');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('a missing line end is made up for', async () => {
    const { rest } = await text('printf a; printf e >&2');
    expect(rest).toBe('a\n    STDERR: e\n');
  });

  it('no output, no line', async () => {
    const { first, rest } = await text('true');
    expect(first).toMatch(head('OK {2}exit:0'));
    expect(rest).toBe('');
  });

  it('FAIL and the code where it is not 0', async () => {
    const { code, first, rest } = await text('echo a; exit 3');
    expect(first).toMatch(head('FAIL {2}exit:3'));
    expect({ code, rest }).toEqual({ code: 1, rest: 'a\n' });
  });

  it('the reason comes first', async () => {
    const { first, rest } = await text('echo a; echo e >&2; kill -9 $$');
    expect(first).toMatch(head('FAIL {2}exit:126'));
    expect(rest).toBe('    ERROR: killed by SIGKILL\na\n    STDERR: e\n');
  });

  it('a host that was named by its place shows who it is', async () => {
    const { control, web } = fleet();
    const { stdout } = await control.command('run', at(web), 'exit', '--', '0');
    expect(stdout).toMatch(new RegExp(`^==> ${at(web)} \\(web-01\\) {2}\\[OK {2}exit:0 `));
    const [result] = await runJson(control, [at(web)], 'exit', ['0']);
    expect(result).toMatchObject({ host: at(web), reported_hostname: 'web-01' });
  });

  it('--script lets all words be hosts, and options may stand anywhere before --', async () => {
    const { control, web } = fleet();
    const second = await twin(web);
    second.script('exit', '#!/bin/sh\nexit $1\n');
    await second.serve();
    const words = ['run', 'web-01', '--script', 'exit', at(second), '--json', '--', '0'];
    const { code, stdout } = await control.command(...words);
    expect(JSON.parse(stdout).results.map(({ host }: JsonResult) => host)).toEqual(['web-01', at(second)]);
    expect(code).toBe(0);
  });
});

it('output that nobody reads to its end ends the command without a word', async () => {
  const command = start('ctrl-exec', ['run', 'web-01', 'shell', '--', 'head -c 3000000 /dev/zero'], {
    home: fleet().control.home,
  });
  await command.shows(/==>/);
  command.child.stdout?.destroy();
  expect((await command.ended).stderr).toBe('');
});

it.skipIf(process.getuid?.() !== 0)(
  'a user without a name may ask too (only root can become one)',
  async () => {
    const nobody = 54_321;
    const home = join(temporaryDirectory(), 'dispatcher');
    cpSync(fleet().control.home, home, { recursive: true });
    for (const entry of ['..', '.', ...(readdirSync(home, { recursive: true }) as string[])])
      chownSync(join(home, entry), nobody, nobody);
    const words = [commandFile('ctrl-exec'), '--home', home, 'run', '--json', 'web-01', 'input'];
    const { stdout, stderr } = await new Promise<{ stdout: string; stderr: string }>((resolve) => {
      execFile(
        process.execPath,
        words,
        { uid: nobody, gid: nobody, env: {}, cwd: '/' },
        (_error, stdout, stderr) => resolve({ stdout, stderr }),
      );
    });
    expect(stderr).toBe('');
    expect(JSON.parse(stdout).results[0].exit).toBe(0);
  },
);

describe('a run that does not start', () => {
  it('Denied: on standard error, exit 1', async () => {
    const { control } = fleet();
    const hook = join(control.home, 'deny.sh');
    writeFileSync(hook, '#!/bin/sh\nexit 2\n', { mode: 0o755 });
    const conf = join(control.home, 'denying.conf');
    writeFileSync(conf, `dispatcher_id = control\nauth_hook = ${hook}\n`);
    const denied = await control.command('--config', conf, 'run', 'web-01', 'exit', '--', '0');
    expect(denied).toMatchObject({ code: 1, stdout: '', stderr: 'Denied: bad credentials\n' });
    const json = await control.command('--config', conf, 'run', '--json', 'web-01', 'exit', '--', '0');
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toEqual({ ok: 0, error: 'bad credentials', code: 2 });
    expect(json.stderr).toBe('Denied: bad credentials\n');
  });

  it('Locked: on standard error, exit 1', async () => {
    const { control, web } = fleet();
    const busy = gate();
    const agent = await twin(web);
    agent.script('busy', busy.script);
    await agent.serve();
    const first = control.start('run', at(agent), 'busy');
    await busy.started();
    const locked = await control.command('run', at(agent), 'busy');
    expect(locked).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(
        new RegExp(`^Locked: already running: ${at(agent)}:busy \\(run [0-9a-f]{16}\\)\\n$`),
      ),
    });
    const json = await control.command('run', '--json', at(agent), 'busy');
    expect(JSON.parse(json.stdout)).toEqual({
      ok: 0,
      error: 'locked',
      code: 4,
      conflicts: [`${at(agent)}:busy`],
    });
    expect(json.code).toBe(1);
    busy.open();
    expect((await first.ended).code).toBe(0);
    expect(busy.starts()).toBe(1);
  });

  it.each<[string, readonly string[]]>([
    ['no words', ['run']],
    ['no script', ['run', 'web-01']],
    ['an option that is none', ['run', '--frobnicate', 'web-01', 'exit']],
    ['a port that is none', ['run', '--port', '70000', 'web-01', 'exit']],
    ['hosts and tags', ['run', '--tags', 'a=b', 'web-01', 'exit']],
    ['tags that are none', ['run', '--tags', 'a', 'exit']],
    ['a host that is none', ['run', 'a b', 'exit']],
    ['a port of a host that is none', ['run', '127.0.0.1:0', 'exit']],
    ['a script name with a control character', ['run', 'web-01', 'ex\nit']],
    ['an empty script name', ['run', 'web-01', '']],
    ['a command that is none', ['frobnicate']],
    ['no command', []],
    ['hosts missing', ['ping']],
    ['more than is expected', ['list-agents', 'x']],
  ])('usage: %s, exit 64 and one line that says what', async (_name, words) => {
    const { code, stdout, stderr } = await fleet().control.command(...words);
    expect(stderr).not.toBe('');
    expect(stderr).not.toMatch(/\n\s+at /);
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' });
  });

  it('help is no error', async () => {
    const { code, stdout, stderr } = await fleet().control.command('--help');
    expect(stdout).toMatch(/^Usage: ctrl-exec /);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });
});
