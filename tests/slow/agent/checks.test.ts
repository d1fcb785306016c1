import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { agentOnDisk, run, start, temporaryDirectory } from '../../support/commands/commands.js';
import { configure, pairedHost } from '../../support/fleet/fleet.js';

const host = pairedHost();
const { fresh, ask } = host;

describe('two agents on one machine', () => {
  it('each lives in its own home, named by an option or by the environment', async () => {
    const [one, two] = [await fresh(), await fresh()];
    one.script('who', '#!/bin/sh\necho one\n');
    two.script('who', '#!/bin/sh\necho two\n');
    await one.serve();
    const second = start('ctrl-exec-agent', ['serve'], { env: { CTRL_EXEC_AGENT_HOME: two.home } });
    await second.shows(/Serving on/);
    expect((await ask(one, 'who')).stdout).toBe('one\n');
    expect((await ask(two, 'who')).stdout).toBe('two\n');
    expect((await second.stop()).code).toBe(0);
    expect((await ask(one, 'who')).stdout).toBe('one\n');
  });

  it('so does the dispatcher', async () => {
    const control = host.control();
    const { code, stdout } = await run('ctrl-exec', ['list-agents'], {
      env: { CTRL_EXEC_HOME: control.home },
    });
    expect(stdout).toContain('web-01');
    expect(code).toBe(0);
  });
});

describe('checks', () => {
  it('self-check of a healthy agent: ok on every line, exit 0', async () => {
    const agent = await fresh();
    agent.script('hello', '#!/bin/sh\n');
    const { code, stdout } = await agent.command('self-check');
    const lines = stdout.trimEnd().split('\n');
    expect(lines.every((line) => /^ok {4}[a-z ]+: ./.test(line))).toBe(true);
    for (const what of [
      'configuration',
      'script hello',
      'certificate',
      'certificate authority',
      'trusted dispatchers',
    ])
      expect(stdout).toMatch(new RegExp(`^ok {4}${what}: `, 'm'));
    expect(stdout).toContain('trusted dispatchers: control\n');
    expect(code).toBe(0);
  });

  it('self-check says all that is wrong, not only the first, exit 1', async () => {
    const agent = await fresh('auth_hook = /nonexistent/hook\n');
    chmodSync(agent.script('hello', '#!/bin/sh\n'), 0o644);
    agent.script('fine', '#!/bin/sh\n');
    writeFileSync(join(agent.home, 'scripts.conf'), 'bad line\n', { flag: 'a' });
    writeFileSync(join(agent.home, 'state', 'ctrl-exec-dispatchers'), '');
    const { code, stdout } = await agent.command('self-check');
    expect(stdout).toMatch(/^FAIL {2}script hello: .* is not executable for this user: chmod \+x/m);
    expect(stdout).toMatch(/^ok {4}script fine: /m);
    expect(stdout).toMatch(/^FAIL {2}auth hook: \/nonexistent\/hook does not exist: /m);
    expect(stdout).toMatch(/^FAIL {2}.*scripts\.conf:3: skipped, /m);
    expect(stdout).toMatch(/^FAIL {2}trusted dispatchers: none/m);
    expect(code).toBe(1);
  });

  it('self-check says why a hook or a script would not be started', async () => {
    const hooks = temporaryDirectory();
    const hook = join(hooks, 'hook');
    writeFileSync(hook, '#!/bin/sh\n');
    chmodSync(hook, 0o757);
    const agent = await fresh(`auth_hook = ${hook}\n`);
    agent.script('hello', 'echo hello\n');
    const open = await agent.command('self-check');
    expect(open.stdout).toMatch(
      /^FAIL {2}file trust: .*\/hook is writable by everybody: chmod go-w .*\/hook$/m,
    );
    expect(open.stdout).toMatch(/^FAIL {2}script hello: .* does not begin with #!: .*#!\/bin\/sh$/m);
    expect(open.code).toBe(1);
    chmodSync(hook, 0o644);
    const { stdout } = await agent.command('self-check');
    expect(stdout).toMatch(/^FAIL {2}auth hook: .*\/hook is not executable for this user: chmod \+x/m);
  });

  it('self-check without a configuration finds nothing wrong with that', async () => {
    const agent = await fresh();
    rmSync(join(agent.home, 'agent.conf'));
    const below = await agent.command('self-check');
    expect(below.stdout).toMatch(/^ok {4}configuration: .*agent\.conf does not exist, the defaults hold$/m);
  });

  it('self-check of one that is not paired, and of one that cannot be read', async () => {
    const lonely = await agentOnDisk('lonely');
    const unpaired = await lonely.command('self-check');
    expect(unpaired.stdout).toMatch(/^FAIL {2}certificate: this agent is not paired: /m);
    expect(unpaired.code).toBe(1);
    configure(lonely, 'max_runs = 0\n');
    const broken = await lonely.command('self-check');
    expect(broken.stdout).toMatch(/^FAIL {2}configuration: .*agent\.conf:3: max_runs is "0"/m);
    expect(broken.code).toBe(1);
  });

  it('self-ping: the refusal of a running agent is health', async () => {
    const agent = await fresh();
    await agent.serve();
    for (const command of ['self-ping', 'ping-self']) {
      const { code, stdout } = await agent.command(command);
      expect(stdout).toMatch(
        new RegExp(`^ok {2}127\\.0\\.0\\.1:${agent.port} answers with this agent's certificate, \\d+ ms\n$`),
      );
      expect(code).toBe(0);
    }
  });

  it('self-ping: nothing there, somebody else, or no identity at all is exit 1 with the reason', async () => {
    const agent = await fresh();
    const down = await agent.command('self-ping');
    expect(down).toMatchObject({
      code: 1,
      stdout: '',
      stderr: `nothing listens on 127.0.0.1:${agent.port}\n`,
    });
    const other = await host.control().pairAgent('stranger-01');
    await other.serve();
    const stranger = await agent.command('self-ping', '--port', String(other.port));
    expect(stranger).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('something else than this agent'),
    });
    const unpaired = await (await agentOnDisk('lonely')).command('self-ping');
    expect(unpaired).toMatchObject({ code: 1, stderr: expect.stringContaining('not paired') });
  });

  it('pairing-status: 0 paired, 1 not', async () => {
    const agent = await fresh();
    const paired = await agent.command('pairing-status');
    expect(paired).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Paired as web-01, .*dispatchers: control\n$/),
    });
    const json = JSON.parse((await agent.command('pairing-status', '--json')).stdout);
    expect(json).toMatchObject({ paired: true, name: 'web-01', dispatchers: ['control'] });
    const lonely = await agentOnDisk('lonely');
    expect(await lonely.command('pairing-status')).toMatchObject({ code: 1, stdout: 'Not paired\n' });
    const no = await lonely.command('pairing-status', '--json');
    expect({ code: no.code, ...JSON.parse(no.stdout) }).toMatchObject({ code: 1, paired: false });
  });
});
