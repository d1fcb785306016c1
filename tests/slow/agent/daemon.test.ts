import { appendFileSync, chownSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { agentOnDisk, requestPairing, run, start } from '../../support/commands/commands.js';
import {
  configure,
  dispatcherCredentials,
  eventually,
  gate,
  pairedHost,
  rawRequest,
  reload,
  runOne,
} from '../../support/fleet/fleet.js';
import { askOver } from '../../support/network/raw-http.js';
import { openTls } from '../../support/network/raw-tls.js';

const host = pairedHost();
const { fresh, ask, running } = host;

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });

describe('what keeps it from serving', () => {
  it('not paired: exit 78 and how to pair', async () => {
    const agent = await agentOnDisk('lonely');
    const { code, stdout, stderr } = await agent.command('serve');
    expect(stderr).toMatch(/^this agent is not paired: run `ctrl-exec-agent request-pairing .*\n$/);
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
  });

  it.each([
    ['port = 70000', 1, /port is "70000", expected .*65535/],
    ['bind = 127.0.0.1\nmax_runs = many', 2, /max_runs is "many", expected a whole number/],
    [
      '# note\n\nallowed_ips = 10.0.0.0/33',
      3,
      /allowed_ips is "10\.0\.0\.0\/33", expected addresses and CIDR/,
    ],
    ['no equals sign', 1, /"no equals sign" is not understood, expected key = value/],
    ['[tag]\na = b', 1, /section "\[tag\]" is not known, expected \[tags\]/],
    ['port = 7443\nport = 7444', 2, /"port" is set twice/],
    ['auth_hook_timeout = 0', 1, /auth_hook_timeout is "0", expected/],
  ])('a mistake in agent.conf, %j: line %i and what is expected, exit 78', async (conf, line, said) => {
    const agent = await fresh();
    const file = join(agent.home, 'agent.conf');
    writeFileSync(file, conf);
    const { code, stdout, stderr } = await agent.command('serve');
    expect(stderr.startsWith(`${file}:${line}: `)).toBe(true);
    expect(stderr).toMatch(said);
    expect(stderr.trimEnd()).not.toContain('\n');
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
  });

  it('a configuration that was named and is not there, off the home', async () => {
    const { code, stderr } = await run('ctrl-exec-agent', ['--config', '/nonexistent/agent.conf', 'serve']);
    expect({ code, stderr }).toEqual({
      code: 78,
      stderr: '/nonexistent/agent.conf: the configuration file does not exist\n',
    });
  });

  it('a certificate of another key: exit 78', async () => {
    const [agent, other] = [await fresh(), await host.control().pairAgent('other-01')];
    writeFileSync(join(agent.home, 'agent.crt'), readFileSync(join(other.home, 'agent.crt')));
    const { code, stderr } = await agent.command('serve');
    expect(stderr).toContain('do not belong together');
    expect(code).toBe(78);
  });

  it('a port that is taken: one line that says so, exit 1', async () => {
    const [one, two] = [await fresh(), await fresh()];
    await one.serve();
    writeFileSync(join(two.home, 'agent.conf'), `port = ${one.port}\nbind = 127.0.0.1\n`);
    const { code, stderr } = await two.command('serve');
    expect(stderr).toBe(
      `cannot listen on 127.0.0.1 port ${one.port}: EADDRINUSE, another process listens there\n`,
    );
    expect(code).toBe(1);
  });

  it('no command: usage, exit 64', async () => {
    const { code, stdout, stderr } = await run('ctrl-exec-agent', []);
    expect(stderr).toMatch(/^Usage: ctrl-exec-agent /);
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' });
  });

  it('an unknown key is a warning with the closest known one', async () => {
    const agent = await fresh('max_run = 3\n');
    const daemon = await agent.serve();
    await daemon.shows(
      /ACTION=warning .*agent\.conf:3: unknown key .*max_run.*did you mean .*max_runs/,
      'stderr',
    );
  });
});

describe('the allowlist', () => {
  it('a bad line is a warning with file and line; the others hold', async () => {
    const agent = await fresh();
    agent.script('good', '#!/bin/sh\necho good\n');
    const file = join(agent.home, 'scripts.conf');
    writeFileSync(file, 'relative = bin/x\nno/name = /bin/true\nup = /opt/../bin/true\nnothing\n', {
      flag: 'a',
    });
    writeFileSync(file, 'good = /bin/false\nlast = /bin/true profile=p\n', { flag: 'a' });
    const daemon = await agent.serve();
    const log = daemon.output('stderr');
    for (const line of [2, 3, 4, 5, 6]) expect(log).toContain(`${file}:${line}: skipped, `);
    expect(log).toContain(`${file}:7: profile=p is read but not enforced yet`);
    expect((await ask(agent, 'good')).stdout).toBe('good\n');
    expect((await ask(agent, 'last')).exit).toBe(0);
    for (const name of ['relative', 'up', 'nothing'])
      expect(await ask(agent, name)).toMatchObject({ exit: -1, error: 'script not permitted' });
  });

  it('none at all allows nothing, and says so', async () => {
    const agent = await fresh();
    const daemon = await agent.serve();
    await daemon.shows(/ACTION=warning .*scripts\.conf does not exist: no script is allowed/, 'stderr');
    expect(await ask(agent, 'true')).toMatchObject({ exit: -1, error: 'script not permitted' });
  });

  it('a name that it does not have is not permitted, whatever it looks like', async () => {
    const agent = await fresh();
    agent.script('good', '#!/bin/sh\n');
    await agent.serve();
    const names = ['../../bin/true', '/bin/true', 'good ', 'GOOD', '', 'good\n', '__proto__', 'constructor'];
    for (const script of names) {
      const answer = await ask(agent, script, [], { reqid: 'r1' });
      expect(answer).toEqual({ script, exit: -1, error: 'script not permitted', reqid: 'r1' });
    }
    expect((await ask(agent, 'good')).exit).toBe(0);
  });
});

describe('SIGHUP', () => {
  it('what does not parse leaves everything as it was and is logged with file and line', async () => {
    const agent = await fresh('[tags]\nstage = one\n');
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    configure(agent, 'max_runs = 0\n[tags]\nstage = two\n');
    writeFileSync(join(agent.home, 'scripts.conf'), 'other = /bin/true\n');
    await reload(daemon, 'reload-failed');
    const said = await daemon.shows(/ACTION=reload-failed REASON="(.*)"/, 'stderr');
    expect(said).toContain(`${join(agent.home, 'agent.conf')}:3: max_runs is \\"0\\", expected`);
    expect((await ask(agent, 'hello')).stdout).toBe('hello\n');
    expect((await ask(agent, 'other')).error).toBe('script not permitted');
    const { body } = await rawRequest(agent.port, dispatcherCredentials(host.control()), '/capabilities');
    expect(JSON.parse(body).tags).toEqual({ stage: 'one' });

    configure(agent, '');
    await reload(daemon, 'reloaded');
    expect((await ask(agent, 'other')).exit).toBe(0);
  });

  it.skipIf(process.geteuid?.() !== 0)(
    'a line that another user has put into the allowlist is not taken over; a start is refused (only root can give files away)',
    async () => {
      const agent = await fresh();
      agent.script('hello', '#!/bin/sh\necho hello\n');
      const daemon = await agent.serve();
      const allowlist = join(agent.home, 'scripts.conf');
      chownSync(allowlist, 65_534, 65_534);
      appendFileSync(allowlist, 'evil = /bin/true\n');
      await reload(daemon, 'reload-failed');
      const line = `not trusted: ${allowlist} belongs to uid 65534, expected root: chown root ${allowlist}`;
      expect(daemon.output('stderr')).toContain(line);
      expect((await ask(agent, 'evil')).error).toBe('script not permitted');
      expect((await ask(agent, 'hello')).stdout).toBe('hello\n');
      await daemon.stop();
      expect(await agent.command('serve')).toMatchObject({ code: 78, stdout: '', stderr: `${line}\n` });
    },
  );

  it('a certificate that is gone leaves the one that was read', async () => {
    const agent = await fresh();
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    const certificate = join(agent.home, 'agent.crt');
    renameSync(certificate, `${certificate}.away`);
    await reload(daemon, 'reload-failed');
    expect((await running(agent, 'hello')).stdout).toBe('hello\n');
    writeFileSync(certificate, 'no certificate\n');
    await reload(daemon, 'reload-failed', 2);
    expect((await running(agent, 'hello')).stdout).toBe('hello\n');
    renameSync(`${certificate}.away`, certificate);
    await reload(daemon, 'reloaded');
  });

  it('a new key is shown to whoever connects, an open connection lives on', async () => {
    const control = host.control();
    const agent = await control.pairAgent('renewed-01');
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    const socket = await openTls(agent.port, dispatcherCredentials(control));
    // Signed for the key that the connection was shown, and so is the answer.
    const ping = async () => (await askOver(socket, dispatcherCredentials(control), '/ping', '{}')).status;
    expect(await ping()).toBe(200);

    const mode = await control.pairingMode();
    const again = requestPairing(agent, mode.port, ['--lookup-by', 'ip', '--new-key']);
    const id = await again.shows(/Request ([0-9a-f]{8})/);
    expect((await control.command('approve', id)).code).toBe(1);
    expect((await control.command('approve', id, '--replace')).code).toBe(0);
    again.child.stdin?.end('y\n');
    expect((await again.ended).code).toBe(0);

    expect((await runOne(control, 'renewed-01', 'hello')).error).toContain('wrong identity');
    await reload(daemon, 'reloaded');
    expect((await runOne(control, 'renewed-01', 'hello')).stdout).toBe('hello\n');
    expect(await ping()).toBe(200);
    socket.destroy();
  });
});

describe('signals and streams at bad moments', () => {
  /** Takes a while to load, and is replaced by a short one. */
  const slow = (name: string) =>
    Array.from({ length: 10_000 }, (_, index) => `${name}${index} = /bin/true\n`).join('');

  it.skipIf(!existsSync('/proc/self/io'))(
    'of two reloads at once, what the later one read holds (needs /proc to see when the first has read)',
    async () => {
      const agent = await fresh();
      const file = join(agent.home, 'scripts.conf');
      const daemon = await agent.serve();
      const bytesRead = () =>
        Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${daemon.child.pid}/io`, 'utf8'))?.[1]);
      const before = bytesRead();
      writeFileSync(file, slow('old'));
      daemon.child.kill('SIGHUP');
      await eventually(() => expect(bytesRead()).toBeGreaterThan(before + slow('old').length));
      writeFileSync(file, 'new = /bin/true\n');
      await reload(daemon, 'reloaded', 2);
      expect(await ask(agent, 'new')).toMatchObject({ exit: 0 });
      expect(await ask(agent, 'old1')).toMatchObject({ error: 'script not permitted' });
    },
  );

  it.skipIf(!existsSync('/proc/self/status'))(
    'SIGHUP while it starts does not end it (needs /proc to see when it can be sent)',
    async () => {
      const agent = await fresh();
      writeFileSync(join(agent.home, 'scripts.conf'), slow('s'));
      const daemon = start('ctrl-exec-agent', ['serve'], { home: agent.home });
      await eventually(() => {
        const status = readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8');
        const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0';
        expect(BigInt(`0x${caught}`) & 1n).toBe(1n);
      });
      expect(await accepts(agent.port)).toBe(false);
      daemon.child.kill('SIGHUP');
      await daemon.shows(/Serving on/);
      expect((await ask(agent, 's1')).exit).toBe(0);
    },
  );

  it('goes on serving when nobody reads its log any more', async () => {
    const agent = await fresh();
    agent.script('hello', '#!/bin/sh\necho hello\n');
    const daemon = await agent.serve();
    daemon.child.stderr?.destroy();
    for (const _ of [1, 2, 3])
      expect(await ask(agent, 'hello')).toMatchObject({ exit: 0, stdout: 'hello\n' });
    expect((await daemon.stop()).code).toBe(0);
  });
});

describe('the end', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s: nothing new is taken, what runs is finished, exit 0',
    async (signal) => {
      const agent = await fresh();
      const busy = gate();
      agent.script('busy', busy.script);
      const daemon = await agent.serve();
      const running = ask(agent, 'busy');
      await busy.started();
      daemon.child.kill(signal);
      await eventually(async () => expect(await accepts(agent.port)).toBe(false));
      expect(daemon.child.exitCode).toBe(null);
      busy.open();
      expect(await running).toMatchObject({ exit: 0, stdout: 'done\n' });
      expect(await daemon.ended).toMatchObject({ code: 0, signal: null });
    },
  );

  it('the second SIGTERM ends what runs, which is answered, exit 0', async () => {
    const agent = await fresh();
    const busy = gate();
    agent.script('busy', busy.script);
    const daemon = await agent.serve();
    const running = ask(agent, 'busy');
    await busy.started();
    daemon.child.kill('SIGTERM');
    await eventually(async () => expect(await accepts(agent.port)).toBe(false));
    daemon.child.kill('SIGTERM');
    expect(await running).toMatchObject({ exit: 126, error: expect.stringContaining('SIGTERM') });
    expect(await daemon.ended).toMatchObject({ code: 0, signal: null });
    expect(daemon.output('stderr').match(/^ACTION=stopped /gm)).toHaveLength(1);
  });

  it('is not held up by a connection that asks nothing', async () => {
    const agent = await fresh();
    const daemon = await agent.serve();
    const socket = await openTls(agent.port, dispatcherCredentials(host.control()));
    expect(await daemon.stop()).toMatchObject({ code: 0, signal: null });
    socket.destroy();
  });
});
