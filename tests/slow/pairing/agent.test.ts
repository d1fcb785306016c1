import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type AgentOnDisk,
  agentOnDisk,
  requestArgs,
  requestPairing,
  run,
  shared,
  temporaryDirectory,
} from '../../support/commands/commands.js';
import { agentCredentials, dispatcherCredentials, serialOf } from '../../support/fleet/fleet.js';
import {
  ask,
  caOf,
  dispatcherIdentity,
  dispatcherWith,
  expectNothingInstalled,
  identityFiles,
  identityOf,
  inPairingMode,
  modeOf,
  type PairingDispatcher,
  pairedBy,
} from '../../support/pairing/pairing.js';
import { impostor, strangeCa } from '../../support/pairing/server.js';

const identity = shared(dispatcherIdentity);
const otherIdentity = shared(dispatcherIdentity);

describe('request-pairing', () => {
  it('installs a private key, certificates, and a trust file of serial and dispatcher id', async () => {
    const { control, port } = await inPairingMode(identity());
    const asking = await agentOnDisk('web-01');
    expect(await asking.command('pairing-status')).toMatchObject({ code: 1, stdout: 'Not paired\n' });
    const { agent } = await pairedBy(control, port, asking);
    expect(identityFiles.map((name) => modeOf(join(agent.home, name)))).toEqual(['600', '644', '644', '644']);
    expect(modeOf(join(agent.home, 'state'))).toBe('700');
    const serial = serialOf(dispatcherCredentials(control));
    expect(identityOf(agent)[3]).toBe(`${serial} control\n`);
    expect(identityOf(agent)[2]).toBe(caOf(control));
    const status = await agent.command('pairing-status');
    expect(status.code).toBe(0);
    expect(status.stdout).toMatch(
      /^Paired as web-01, certificate [0-9a-f]{32} until .*; dispatchers: control\n$/,
    );
    const json = await agent.command('pairing-status', '--json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      paired: true,
      name: 'web-01',
      serial: serialOf(agentCredentials(agent)),
      dispatchers: ['control'],
    });
  });

  it('registers what --name, --lookup-by and --agent-port say, the name in lower case', async () => {
    const { control, port } = await inPairingMode(identity());
    const agent = await agentOnDisk('WEB-01.Example.org');
    await pairedBy(control, port, agent, ['--lookup-by', 'hostname', '--agent-port', '8443']);
    await pairedBy(control, port, 'web-02', ['--lookup-by', 'ip']);
    expect(await control.agents()).toMatchObject([
      { name: 'web-01.example.org', hostname: 'web-01.example.org', lookup_by: 'hostname', port: 8443 },
      { name: 'web-02', ip: '127.0.0.1', lookup_by: 'ip' },
    ]);
    const status = await agent.command('pairing-status', '--json');
    expect(JSON.parse(status.stdout).name).toBe('web-01.example.org');
  });

  it('ends with 64 on what it cannot use, before it connects', async () => {
    const fake = await impostor({ dispatcherId: 'control' });
    const { port, steps } = await fake.server();
    const home = join(temporaryDirectory(), 'agent');
    const wrong = [
      '--name=../x',
      '--name=',
      '--name=web\u001b[2J',
      '--name=web\nweb',
      `--name=${'x'.repeat(10_000)}`,
      '--lookup-by=dns',
      '--agent-port=65536',
      '--port=65536',
      '--frobnicate',
    ];
    const all = await Promise.all(
      wrong.map((option) => run('ctrl-exec-agent', requestArgs(port, option), { home })),
    );
    for (const [index, ended] of all.entries()) {
      expect(ended.code, JSON.stringify(wrong[index]?.slice(0, 30))).toBe(64);
      expect(ended.stderr).not.toContain('\u001b');
    }
    expect(steps).toEqual([]);
  });

  it('ends with 64 without a dispatcher, and with 1 where nobody listens or the name does not resolve', async () => {
    const agent = await agentOnDisk('web-01');
    expect((await agent.command('request-pairing')).code).toBe(64);
    const nobody = await agent.command(...requestArgs(1));
    expect(nobody).toMatchObject({ code: 1, stderr: 'nothing listens on 127.0.0.1:1\n' });
    const nowhere = await agent.command('request-pairing', '--dispatcher', 'nowhere.invalid');
    expect(nowhere).toMatchObject({ code: 1, stderr: expect.stringContaining('does not resolve') });
  });

  it('ends with 2 when pairing mode was restarted meanwhile: the session has expired', async () => {
    const { control, mode, port } = await inPairingMode(identity());
    const asking = await ask('web-01', port);
    await mode.process.stop();
    expect(await control.requests()).toEqual([]);
    await control.open(port);
    asking.answer('y');
    expect(await asking.ended).toMatchObject({ code: 2, stderr: expect.stringContaining('expired') });
    expectNothingInstalled(asking.agent);
  });

  it('installs nothing when pairing mode has gone', async () => {
    const { mode, port } = await inPairingMode(identity());
    const asking = await ask('web-01', port);
    await mode.process.stop();
    asking.answer('y');
    expect((await asking.ended).code).not.toBe(0);
    expectNothingInstalled(asking.agent);
  });

  it('asks again for a certificate whose answer was lost on the way', async () => {
    let asked = 0;
    const fake = await impostor({
      dispatcherId: 'control',
      onConfirm: () => {
        asked += 1;
        return asked === 1 ? 'drop' : undefined;
      },
    });
    const { port } = await fake.server();
    const ended = await requestPairing(await agentOnDisk('web-01'), port, [], { input: 'y\n' }).ended;
    expect(ended.code, ended.stderr).toBe(0);
    expect(asked).toBe(2);
  });

  it('shows nothing of what a dispatcher says that could move the cursor or end the line', async () => {
    const reason = 'no\u001b]0;owned\u0007\n\u009b2JPaired with control as web-01';
    const fake = await impostor({
      dispatcherId: 'control',
      onConfirm: () => ({ status: 403, body: { status: 'denied', reason } }),
    });
    const { port } = await fake.server();
    const ended = await requestPairing(await agentOnDisk('web-01'), port, [], { input: 'y\n' }).ended;
    expect(ended.code).toBe(3);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    expect(ended.stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(ended.stderr).not.toMatch(/^Paired/m);
  });

  it('does so also for the names of members that it does not know', async () => {
    const fake = await impostor({
      dispatcherId: 'control',
      onConfirm: () => ({ status: 202, body: { status: 'pending', retry_after: 2, '\u009b2J': 1 } }),
    });
    const { port } = await fake.server();
    const ended = await requestPairing(await agentOnDisk('web-01'), port, [], { input: 'y\n' }).ended;
    expect(ended).toMatchObject({ code: 1, stderr: expect.stringContaining('unknown member') });
    expect(ended.stderr).not.toContain('\u009b');
  });
});

describe('request-pairing of an agent that is paired already', () => {
  it('adds a dispatcher of the same CA over the same key; --new-key makes another', async () => {
    const { control, port } = await inPairingMode(identity());
    const { agent } = await pairedBy(control, port, 'web-01');
    const [key = '', , ca, trust = ''] = identityOf(agent);

    const second = dispatcherWith(identity());
    writeFileSync(join(second.home, 'ctrl-exec.conf'), 'dispatcher_id = second\npairing_bind = 127.0.0.1\n');
    expect((await second.command('setup-ctrl-exec', '--yes')).code).toBe(0);
    const { port: secondPort } = await second.open();
    expect((await pairedBy(second, secondPort, agent)).ended.code).toBe(0);
    const both = `${trust}${serialOf(dispatcherCredentials(second))} second\n`;
    expect(identityOf(agent)).toMatchObject([key, expect.any(String), ca, both]);

    expect((await pairedBy(second, secondPort, agent, ['--new-key'], ['--replace'])).ended.code).toBe(0);
    const renewed = identityOf(agent);
    expect(renewed[0]).not.toBe(key);
    expect(renewed[3]).toBe(both);
    expect(modeOf(join(agent.home, 'agent.key'))).toBe('600');
  });

  it('needs --replace for a dispatcher of another CA, and then trusts that one alone', async () => {
    const { control, port } = await inPairingMode(identity());
    const { agent } = await pairedBy(control, port, 'web-01');
    const before = identityOf(agent);
    const elsewhere = dispatcherWith(otherIdentity());
    const { port: otherPort } = await elsewhere.open();
    const refused = await requestPairing(agent, otherPort, [], { input: 'y\n' }).ended;
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('--replace') });
    expect(refused.stdout).not.toContain('Pairing code');
    expect(identityOf(agent)).toEqual(before);
    expect((await pairedBy(elsewhere, otherPort, agent, ['--replace'])).ended.code).toBe(0);
    expect(identityOf(agent).slice(2)).toEqual([
      caOf(elsewhere),
      `${serialOf(dispatcherCredentials(elsewhere))} control\n`,
    ]);
  });
});

describe('request-pairing of an agent that cannot write', () => {
  const mounts =
    spawnSync('unshare', ['-m', 'true'], { timeout: 5_000 }).status === 0
      ? undefined
      : 'unshare -m is not permitted';

  async function isToldBeforeItConnects(agent: AgentOnDisk, message: RegExp, before?: string) {
    const fake = await impostor({ dispatcherId: 'control' });
    const { port, steps } = await fake.server();
    const ended = await requestPairing(agent, port, [], { input: 'y\n', ...(before && { before }) }).ended;
    expect(ended).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(message) });
    expect(ended.stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(steps).toEqual([]);
  }

  it.each(['agent.key', 'agent.crt', 'ca.crt', 'state/ctrl-exec-dispatchers'])(
    'because %s is a directory is told so before it connects',
    async (name) => {
      const agent = await agentOnDisk('web-01');
      mkdirSync(join(agent.home, name), { recursive: true });
      await isToldBeforeItConnects(agent, new RegExp(`${name}.*EISDIR`));
    },
  );

  it('because its state directory is a file is told so before it connects', async () => {
    const agent = await agentOnDisk('web-01');
    writeFileSync(join(agent.home, 'state'), '');
    await isToldBeforeItConnects(agent, /state.*(ENOTDIR|EEXIST)/);
  });

  it.skipIf(mounts).each([
    ['and its state directory is there', true],
    ['and its state directory would have to be made', false],
  ])(
    `because its home is mounted read-only, %s, is told so before it connects${mounts ? ` (skipped: ${mounts})` : ''}`,
    async (_, state) => {
      const agent = await agentOnDisk('web-01');
      if (state) mkdirSync(join(agent.home, 'state'));
      const mounted = `mount --bind ${agent.home} ${agent.home} && mount -o remount,ro,bind ${agent.home} && exec "$@"`;
      await isToldBeforeItConnects(agent, /EROFS/, `exec unshare -m sh -c '${mounted}' sh "$@"`);
    },
  );
});

describe('request-pairing --ca-sha256', () => {
  const fingerprintOf = async (control: PairingDispatcher) =>
    (await control.command('ca-fingerprint')).stdout.trim();

  it('asks nobody at the agent; the fingerprint may be written with colons or without', async () => {
    const { control, port } = await inPairingMode(identity());
    const fingerprint = await fingerprintOf(control);
    const plain = fingerprint.replaceAll(':', '').toLowerCase();
    const other = requestPairing(await agentOnDisk('web-02'), port, ['--ca-sha256', plain], { input: '' });
    await other.shows(/Pairing code: [0-9a-f]{8}-\d{6}/);
    const started = requestPairing(await agentOnDisk('web-01'), port, ['--ca-sha256', fingerprint], {
      input: '',
    });
    const id = await started.shows(/Request ([0-9a-f]{8})/);
    expect((await control.command('approve', id)).code).toBe(0);
    const ended = await started.ended;
    expect(ended.code, ended.stderr).toBe(0);
    expect(ended.stderr).not.toContain('[y/N]');
    expect((await control.agents()).map(({ name }) => name)).toEqual(['web-01']);
  });

  it('refuses the dispatcher of another CA, before any code', async () => {
    const { control, port } = await inPairingMode(identity());
    const fingerprint = await fingerprintOf(dispatcherWith(otherIdentity()));
    const agent = await agentOnDisk('web-01');
    const ended = await requestPairing(agent, port, ['--ca-sha256', fingerprint], { input: 'y\n' }).ended;
    expect(ended).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('not the expected dispatcher'),
    });
    expectNothingInstalled(agent);
    expect((await control.requests()).map(({ state }) => state)).toEqual(['started']);
  });

  it('refuses what is no fingerprint before it connects', async () => {
    const fake = await impostor({ dispatcherId: 'control' });
    const { port, steps } = await fake.server();
    const agent = await agentOnDisk('web-01');
    const all = await Promise.all(
      ['', 'ab', 'x'.repeat(64), '0'.repeat(63)].map(
        (text) => requestPairing(agent, port, [`--ca-sha256=${text}`], { input: 'y\n' }).ended,
      ),
    );
    for (const ended of all)
      expect(ended).toMatchObject({ code: 64, stderr: expect.stringContaining('64 hex digits') });
    expect(steps).toEqual([]);
  });

  it.each([
    ['whose certificate is of another CA', 'not of that CA', 'other-ca'],
    ['that shows the certificate of an agent', 'not the one of control', 'agent'],
    [
      'that shows the certificate of the dispatcher, which is for clients',
      'not for serverAuth',
      'dispatcher',
    ],
  ] as const)('refuses a server %s, although it sends the right CA', async (_, message, kind) => {
    const { control, port } = await inPairingMode(identity());
    const agent = await agentOnDisk('web-02');
    const shown = {
      'other-ca': async () => (await strangeCa()).credentials({ kind: 'pairing', dispatcherId: 'control' }),
      agent: async () => agentCredentials((await pairedBy(control, port, 'web-01')).agent),
      dispatcher: async () => dispatcherCredentials(control),
    };
    const fake = await impostor({
      dispatcherId: 'control',
      credentials: await shown[kind](),
      caPem: caOf(control),
      dispatcherPem: dispatcherCredentials(control).certificate,
    });
    const server = await fake.server();
    const args = ['--ca-sha256', await fingerprintOf(control)];
    const ended = await requestPairing(agent, server.port, args, { input: 'y\n' }).ended;
    expect(ended).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(message) });
    expect(server.steps).toEqual(['start']);
    expectNothingInstalled(agent);
  });
});
