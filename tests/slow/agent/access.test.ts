import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDispatcher } from '../../../src/apps/library/index.js';
import { failure } from '../../contract/result.js';
import { temporaryDirectory } from '../../support/commands/commands.js';
import {
  at,
  configure,
  dispatcherCredentials,
  pairedHost,
  rawRequest,
  reload,
  serialOf,
} from '../../support/fleet/fleet.js';

const host = pairedHost();
const { fresh, ask, running } = host;

describe('trust', () => {
  it('a revoked serial is refused with that reason, in whatever form it is written', async () => {
    const control = host.control();
    const agent = await fresh('rate_limit_disable = on\n');
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    const serial = serialOf(dispatcherCredentials(control));
    const pairs = serial.toUpperCase().match(/../g) ?? [];
    const forms = [
      serial,
      pairs.join(':'),
      pairs.join(' '),
      `"${serial}",`,
      `0x${serial}`,
      `serial=${serial}  # lost`,
      Buffer.from(`\uFEFF${pairs.join(' ')}\r\n`, 'utf16le'),
    ];
    for (const [index, form] of forms.entries()) {
      const text = typeof form === 'string' ? `# lost laptops\n10\n${form}\n` : form;
      writeFileSync(join(agent.home, 'revoked-serials'), text);
      await reload(daemon, 'reloaded', index + 1);
      for (const [path, body] of [
        ['/run', '{}'],
        ['/capabilities', undefined],
      ] as const) {
        const answer = await rawRequest(agent.port, dispatcherCredentials(control), path, body);
        expect(answer.statusLine).toBe('HTTP/1.0 403 Forbidden');
        expect(JSON.parse(answer.body)).toEqual({ error: 'certificate revoked' });
      }
    }
    const result = await running(agent, 'hello');
    expect(result).toMatchObject({ exit: -1, error: expect.stringContaining('certificate revoked') });
    rmSync(join(agent.home, 'revoked-serials'));
    await reload(daemon, 'reloaded', forms.length + 1);
    expect((await running(agent, 'hello')).stdout).toBe('hello\n');
  });

  it('a bad line among revoked serials fails the reload, the others hold, also after a restart', async () => {
    const control = host.control();
    const agent = await fresh('rate_limit_disable = on\n');
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    const file = join(agent.home, 'revoked-serials');
    writeFileSync(file, `the old laptop\n${serialOf(dispatcherCredentials(control))}\n`);
    await reload(daemon, 'reload-failed');
    expect(await ask(agent, 'hello')).toEqual({ error: 'certificate revoked' });
    writeFileSync(file, 'the old laptop\n');
    await daemon.stop();
    const next = await agent.serve();
    expect(await ask(agent, 'hello')).toEqual({ error: 'certificate revoked' });
    const checked = await agent.command('self-check');
    expect(checked).toMatchObject({ code: 1, stdout: expect.stringContaining('line 1: "the old laptop"') });
    writeFileSync(file, '');
    await reload(next, 'reloaded');
    expect((await running(agent, 'hello')).stdout).toBe('hello\n');
  });

  it('an agent that trusts nobody refuses everybody', async () => {
    const control = host.control();
    const agent = await fresh();
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    const file = join(agent.home, 'state', 'ctrl-exec-dispatchers');
    const trusted = readFileSync(file, 'utf8');
    expect(trusted).toBe(`${serialOf(dispatcherCredentials(control))} control\n`);
    for (const [index, text] of ['', '# nobody\n', 'this is no line\n'].entries()) {
      writeFileSync(file, text);
      await reload(daemon, 'reloaded', index + 1);
      expect(await ask(agent, 'hello')).toEqual({ error: 'serial mismatch', status: 'forbidden' });
    }
    const result = await running(agent, 'hello');
    expect(result).toMatchObject({
      exit: -1,
      error: expect.stringMatching(/serial mismatch .*pair it with this/),
    });
    rmSync(file);
    await reload(daemon, 'reloaded', 4);
    expect(await ask(agent, 'hello')).toEqual({ error: 'serial mismatch', status: 'forbidden' });
    writeFileSync(file, trusted);
    await reload(daemon, 'reloaded', 5);
    expect((await ask(agent, 'hello')).exit).toBe(0);
  });

  it('allowed_ips: who is not in it is cut off before TLS', async () => {
    const agent = await fresh('allowed_ips = 10.0.0.0/8, 2001:db8::/32\n');
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    const result = await running(agent, 'hello');
    expect(result.exit).toBe(-1);
    expect(result.error).toContain('closed the connection during the TLS handshake');
    expect(result.error).toContain('not admit the address of this host');
    await daemon.shows(/ACTION=connection-refused IP=127\.0\.0\.1 REASON="not in allowed_ips"/, 'stderr');
    configure(agent, 'allowed_ips = 10.0.0.0/8, 127.0.0.0/9\n');
    await reload(daemon, 'reloaded');
    expect((await running(agent, 'hello')).exit).toBe(0);
  });
});

describe('script_dirs', () => {
  it('what lies elsewhere, links followed, is skipped at load', async () => {
    const root = temporaryDirectory();
    const [one, two, neighbour] = ['one', 'two', 'one-more'].map((name) => join(root, name));
    for (const directory of [one, two, neighbour] as string[]) {
      mkdirSync(directory);
      writeFileSync(join(directory, 'run.sh'), `#!/bin/sh\necho ${directory}\n`, { mode: 0o755 });
    }
    symlinkSync(`${neighbour}/run.sh`, `${one}/out.sh`);
    symlinkSync(`${one}/run.sh`, `${neighbour}/in.sh`);
    const agent = await fresh(`script_dirs = ${one}:${two}:${root}/not-there\n`);
    const file = join(agent.home, 'scripts.conf');
    writeFileSync(
      file,
      [
        `one = ${one}/run.sh`,
        `two = ${two}/run.sh`,
        `neighbour = ${neighbour}/run.sh`,
        `out = ${one}/out.sh`,
        `in = ${neighbour}/in.sh`,
        '',
      ].join('\n'),
    );
    const daemon = await agent.serve();
    for (const line of [3, 4])
      expect(daemon.output('stderr')).toContain(
        `${file}:${line}: skipped, ${neighbour}/run.sh is not in any of script_dirs`,
      );
    expect((await ask(agent, 'one')).stdout).toBe(`${one}\n`);
    expect((await ask(agent, 'two')).stdout).toBe(`${two}\n`);
    expect((await ask(agent, 'in')).stdout).toBe(`${one}\n`);
    for (const name of ['neighbour', 'out'])
      expect(await ask(agent, name)).toMatchObject({ exit: -1, error: 'script not permitted' });
  });

  it('a link that is swapped after the load runs nothing', async () => {
    const root = temporaryDirectory();
    const inside = join(root, 'inside');
    mkdirSync(inside);
    writeFileSync(join(inside, 'real.sh'), '#!/bin/sh\necho inside\n', { mode: 0o755 });
    writeFileSync(join(root, 'outside.sh'), `#!/bin/sh\ntouch ${root}/ran\n`, { mode: 0o755 });
    symlinkSync('real.sh', join(inside, 'link.sh'));
    const agent = await fresh(`script_dirs = ${inside}\n`);
    writeFileSync(join(agent.home, 'scripts.conf'), `link = ${inside}/link.sh\n`);
    await agent.serve();
    expect((await ask(agent, 'link')).stdout).toBe('inside\n');
    symlinkSync('../outside.sh', join(inside, 'other.sh'));
    renameSync(join(inside, 'other.sh'), join(inside, 'link.sh'));
    const result = await ask(agent, 'link');
    expect(result).toMatchObject({ exit: 126, error: `${root}/outside.sh is not in any of script_dirs` });
    expect(existsSync(join(root, 'ran'))).toBe(false);
    rmSync(join(inside, 'link.sh'));
    expect(await ask(agent, 'link')).toMatchObject({ exit: 126, error: expect.stringContaining('link.sh') });
  });
});

/** An agent with this auth hook; `log` is a directory to write to. */
async function hooked(text: string, conf = '') {
  const log = temporaryDirectory();
  const hook = join(log, 'hook.sh');
  writeFileSync(hook, text.replaceAll('LOG', log), { mode: 0o755 });
  const agent = await fresh(`auth_hook = ${hook}\n${conf}`);
  agent.script('hello', `#!/bin/sh\ntouch ${log}/ran\necho hello\n`);
  return { agent, hook, log, daemon: await agent.serve() };
}

describe('the auth hook of an agent', () => {
  it('only exit 0 lets a script run; everything else is refused with its reason', async () => {
    const { agent, hook, log } = await hooked(
      '#!/bin/sh\ncase "$ENVEXEC_ARGS" in k) kill -9 $$;; esac\nexit "$ENVEXEC_ARGS"\n',
    );
    const refused = (reason: string) => ({
      script: 'hello',
      exit: -1,
      error: `not authorised: ${reason}`,
      reqid: 'r1',
    });
    const reqid = { reqid: 'r1' };
    expect(await ask(agent, 'hello', ['1'], reqid)).toEqual(refused('denied'));
    expect(await ask(agent, 'hello', ['2'], reqid)).toEqual(refused('bad credentials'));
    expect(await ask(agent, 'hello', ['3'], reqid)).toEqual(refused('insufficient privilege'));
    expect(await ask(agent, 'hello', ['7'], reqid)).toEqual(refused('hook exited 7'));
    expect(await ask(agent, 'hello', ['k'], reqid)).toEqual(refused('hook killed by SIGKILL'));
    const through = await running(agent, 'hello', '3');
    expect(through).toMatchObject({ exit: -1, error: 'not authorised: insufficient privilege' });
    chmodSync(hook, 0o644);
    expect((await ask(agent, 'hello', ['0'])).error).toMatch(
      /^not authorised: hook could not be executed: .*EACCES/,
    );
    chmodSync(hook, 0o757);
    expect((await ask(agent, 'hello', ['0'])).error).toMatch(/^not authorised: .*writable by everybody/);
    rmSync(hook);
    expect((await ask(agent, 'hello', ['0'])).error).toBe(
      `not authorised: hook could not be executed: hook file ${hook} does not exist`,
    );
    expect(existsSync(join(log, 'ran'))).toBe(false);
    writeFileSync(hook, '#!/bin/sh\nexit "$ENVEXEC_ARGS"\n', { mode: 0o755 });
    // What was refused has not used up its id.
    expect(await ask(agent, 'hello', ['0'], reqid)).toMatchObject({ exit: 0, stdout: 'hello\n' });
  });

  it('is not asked about what the allowlist does not name', async () => {
    const { agent, log } = await hooked('#!/bin/sh\ntouch LOG/asked\n');
    expect((await ask(agent, 'other')).error).toBe('script not permitted');
    expect(existsSync(join(log, 'asked'))).toBe(false);
  });

  it('is told who asks for what, in its environment and on standard input', async () => {
    const control = host.control();
    const { agent, log } = await hooked('#!/bin/sh\ncat > LOG/input\n/usr/bin/env -0 > LOG/env\n');
    const more = { username: 'alice', token: 's3same', args: ['a b', '"'] };
    expect((await ask(agent, 'hello', [], more)).exit).toBe(0);
    const timestamp = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(JSON.parse(readFileSync(join(log, 'input'), 'utf8'))).toEqual({
      action: 'run',
      script: 'hello',
      hosts: [],
      args: ['a b', '"'],
      username: 'alice',
      token: 's3same',
      source_ip: '127.0.0.1',
      timestamp,
    });
    const told = readFileSync(join(log, 'env'), 'utf8')
      .split('\0')
      .filter((line) => line.startsWith('ENVEXEC_'))
      .map((line): [string, string] => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
    expect(Object.fromEntries(told)).toEqual({
      ENVEXEC_ACTION: 'run',
      ENVEXEC_SCRIPT: 'hello',
      ENVEXEC_USERNAME: 'alice',
      ENVEXEC_TOKEN: 's3same',
      ENVEXEC_SOURCE_IP: '127.0.0.1',
      ENVEXEC_TIMESTAMP: timestamp,
      ENVEXEC_HOSTS: '',
      ENVEXEC_ARGS: 'a b "',
      ENVEXEC_ARGS_JSON: '["a b","\\""]',
      ENVEXEC_DISPATCHER: 'control',
      ENVEXEC_DISPATCHER_SERIAL: serialOf(dispatcherCredentials(control)),
    });
  });

  it('that does not end is a no', async () => {
    const { agent, log } = await hooked('#!/bin/sh\nsleep 60\n', 'auth_hook_timeout = 1\n');
    expect((await ask(agent, 'hello')).error).toBe('not authorised: hook timed out after 1 s');
    expect(existsSync(join(log, 'ran'))).toBe(false);
  });
});

describe('the auth hook of the dispatcher, asked about who answers', () => {
  it('denies an agent by its name, however the host was written, and may take its time to', async () => {
    const control = host.control();
    const agent = await fresh();
    const log = temporaryDirectory();
    agent.script('hello', `#!/bin/sh\necho ran >> ${log}/ran\n`);
    await agent.serve();
    const hook = join(log, 'hook.sh');
    // Longer than a connection waits for the word about the agent.
    writeFileSync(
      hook,
      `#!/bin/sh\necho "$ENVEXEC_HOSTS" >> ${log}/asked\n[ "$ENVEXEC_HOSTS" = web-01 ] || exit 0\nsleep "$(cat ${log}/seconds)"\nexit "$(cat ${log}/code)"\n`,
      { mode: 0o755 },
    );
    const conf = join(log, 'ctrl-exec.conf');
    writeFileSync(conf, `dispatcher_id = control\nauth_hook = ${hook}\nauth_hook_timeout = 20\n`);
    const runs = () => (existsSync(join(log, 'ran')) ? readFileSync(join(log, 'ran'), 'utf8') : '');
    const byAddress = async (code: number, seconds: number) => {
      writeFileSync(join(log, 'code'), String(code));
      writeFileSync(join(log, 'seconds'), String(seconds));
      rmSync(join(log, 'asked'), { force: true });
      const ran = await control.command('--config', conf, 'run', '--json', at(agent), 'hello');
      expect(readFileSync(join(log, 'asked'), 'utf8')).toBe(`${at(agent)}\nweb-01\n`);
      return { code: ran.code, ...JSON.parse(ran.stdout).results[0] };
    };
    for (const seconds of [0, 1.5])
      expect(await byAddress(3, seconds)).toMatchObject({
        code: 1,
        exit: -1,
        error: 'insufficient privilege',
      });
    expect(runs()).toBe('');
    expect(await byAddress(0, 0)).toMatchObject({ code: 0, exit: 0 });
    expect(runs()).toBe('ran\n');
    expect(await byAddress(0, 1.5)).toMatchObject({ code: 0, exit: 0 });
    expect(runs()).toBe('ran\nran\n');
  });
});

describe('the auth hook of the dispatcher', () => {
  it('is asked before anything is sent, and its no is the answer', async () => {
    const control = host.control();
    const agent = await fresh();
    const log = temporaryDirectory();
    agent.script('hello', `#!/bin/sh\ntouch ${log}/ran\n`);
    await agent.serve();
    const hook = join(log, 'hook.sh');
    writeFileSync(
      hook,
      `#!/bin/sh\ncat > ${log}/input\nprintf %s "$ENVEXEC_HOSTS" > ${log}/hosts\nexit $(cat ${log}/code)\n`,
      {
        mode: 0o755,
      },
    );
    const conf = join(log, 'ctrl-exec.conf');
    writeFileSync(conf, `dispatcher_id = control\nauth_hook = ${hook}\n`);
    const hosts = [at(agent), 'web-01'];
    await using dispatcher = await openDispatcher({ home: control.home, config: conf });
    const verdict = async (code: number) => {
      writeFileSync(join(log, 'code'), String(code));
      const caller = { username: 'alice', token: 's3same' };
      const outcome = await dispatcher.run({ hosts, script: 'hello', args: ['a'], caller });
      return failure(outcome);
    };
    expect(await verdict(1)).toMatchObject({ code: 'denied', reason: 'denied', hookCode: 1 });
    expect(await verdict(2)).toMatchObject({ code: 'denied', reason: 'bad credentials', hookCode: 2 });
    expect(await verdict(3)).toMatchObject({ code: 'denied', reason: 'insufficient privilege', hookCode: 3 });
    expect(await verdict(7)).toMatchObject({ code: 'denied', reason: 'hook exited 7', hookCode: undefined });
    expect(readFileSync(join(log, 'hosts'), 'utf8')).toBe(hosts.join(','));
    expect(JSON.parse(readFileSync(join(log, 'input'), 'utf8'))).toMatchObject({
      action: 'run',
      script: 'hello',
      hosts,
      args: ['a'],
      username: 'alice',
      token: 's3same',
    });
    for (const command of ['ping', 'discovery'] as const) {
      const { code, stdout, stderr } = await control.command('--config', conf, command, at(agent));
      expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: '', stderr: 'Denied: hook exited 7\n' });
      expect(JSON.parse(readFileSync(join(log, 'input'), 'utf8')).action).toBe(command);
    }
    expect(existsSync(join(log, 'ran'))).toBe(false);
    writeFileSync(join(log, 'code'), '0');
    const { code } = await control.command('--config', conf, 'run', at(agent), 'hello');
    expect(code).toBe(0);
    expect(existsSync(join(log, 'ran'))).toBe(true);
    rmSync(hook);
    const gone = await control.command('--config', conf, 'run', at(agent), 'hello');
    expect(gone).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^Denied: hook could not be executed/),
    });
  });
});
