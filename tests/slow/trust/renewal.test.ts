import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import type { Credentials } from '../../../src/ports/channel.js';
import { value } from '../../contract/result.js';
import { atEnd, type Started, shared } from '../../support/commands/commands.js';
import { agentCredentials, dispatcherCredentials, eventually, gate } from '../../support/fleet/fleet.js';
import {
  aged,
  day,
  identityOf,
  issuedFor,
  lifecycleFleet,
  ran,
} from '../../support/fleet/lifecycle-fleet.js';
import { watchEffects } from '../../support/kill/effects.js';
import { watchKeys } from '../../support/kill/key-watch.js';
import { isInterrupted, lookAtAgent } from '../../support/kill/looks.js';
import { listening, openTls } from '../../support/network/raw-tls.js';

const fleet = shared(async () => {
  const made = await lifecycleFleet(['web-01', 'web-02']);
  await made.up('web-02');
  return made;
});

/** An agent that serves with a certificate of which so much is over. */
async function servingSince(from: number, until: number) {
  const agent = fleet().agent('web-01');
  await aged(fleet().control, agent, { from, until });
  const daemon = await fleet().up('web-01');
  await reloaded(daemon);
  return { agent, daemon, before: identityOf(agent) };
}

/** The daemon takes over what its files say. */
async function reloaded(daemon: Started) {
  const times = () => daemon.output('stderr').match(/^ACTION=reloaded /gm)?.length ?? 0;
  const before = times();
  daemon.child.kill('SIGHUP');
  await eventually(() => expect(times()).toBe(before + 1));
}

const alive = ({ child }: Started) => child.exitCode === null && child.signalCode === null;

const pinsOf = async (name: string) => {
  const records = value(await fleet().library.agents());
  return (records.find((record) => record.name === name)?.pins ?? []).map(({ serial, state }) => ({
    serial,
    state,
  }));
};

describe('a certificate that is past half of its lifetime', () => {
  it('is renewed by a ping: in force at once, and nobody notices', async () => {
    const { control, library } = fleet();
    const { script, started, open } = gate();
    fleet().agent('web-01').script('gate', script);
    const { agent, daemon, before } = await servingSince(-200, 100);
    // Connections from before, one of them with a script under way.
    expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
    const slow = library.run({ hosts: ['web-01'], script: 'gate' });
    await started();

    const first = await control.command('ping', '--json', 'web-01');
    expect(first).toMatchObject({ code: 0, stderr: '' });
    expect(Date.parse(JSON.parse(first.stdout).results[0].expiry)).toBe(before.notAfter);
    const after = identityOf(agent);
    expect(after.serial).not.toBe(before.serial);
    expect(after.key).not.toBe(before.key);
    expect(after.notAfter).toBeGreaterThan(Date.now() + 364 * day);
    const second = await control.command('ping', '--json', 'web-01');
    expect(Date.parse(JSON.parse(second.stdout).results[0].expiry)).toBe(after.notAfter);
    // Once is enough, and the old key answers for nobody any more.
    expect(identityOf(agent).serial).toBe(after.serial);
    expect(await pinsOf('web-01')).toEqual([{ serial: after.serial, state: 'active' }]);
    expect(statSync(join(agent.home, 'agent.key')).mode & 0o777).toBe(0o600);

    expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0, stdout: 'hello\n' });
    open();
    expect(value(await slow).results).toMatchObject([{ exit: 0, stdout: 'done\n' }]);
    expect(alive(daemon)).toBe(true);
    await daemon.shows(new RegExp(`ACTION=certificate-renewed .*WAS=${before.serial}`), 'stderr');
    // It is what the files hold, too.
    await fleet().down('web-01', 'SIGKILL');
    await fleet().up('web-01');
    expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
  });

  it('is renewed by maintain, which says so', async () => {
    const { control } = fleet();
    const { agent, daemon, before } = await servingSince(-51, 49);
    const maintained = await control.command('maintain');
    expect(maintained).toMatchObject({ code: 0, stderr: '' });
    expect(maintained.stdout).toMatch(/^1 agent renewed, .* 0 failed.*\n {2}renewed web-01\n/m);
    expect(identityOf(agent).serial).not.toBe(before.serial);
    expect(alive(daemon)).toBe(true);
    const again = await control.command('maintain', '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ ok: 1, renewed: [], failed: [] });
  });

  it('is left alone before, and neither ping nor maintain fails where it cannot be renewed', async () => {
    const { control } = fleet();
    const { agent, before } = await servingSince(-49, 51);
    expect(await control.command('ping', 'web-01')).toMatchObject({ code: 0 });
    expect(JSON.parse((await control.command('maintain', '--json')).stdout)).toMatchObject({ renewed: [] });
    expect(identityOf(agent).serial).toBe(before.serial);

    await servingSince(-60, 40);
    await fleet().down('web-01');
    const maintained = await control.command('maintain', '--json');
    expect(maintained.code).toBe(1);
    expect(JSON.parse(maintained.stdout)).toMatchObject({
      renewed: [],
      failed: [{ name: 'web-01', reason: expect.stringMatching(/nothing listens/) }],
    });
  });

  it('kill -9 of the agent at any moment of it: it starts again and answers', {
    timeout: 60_000,
  }, async () => {
    const { library } = fleet();
    const { home } = fleet().agent('web-01');
    const keys = watchKeys(home);
    atEnd(() => keys.end());
    // From the first sign of it; from when it cannot be undone any more; from when the new certificate lies there.
    const moments = [
      [/agent|journal/, 0],
      [/^identity\.journal$/, 0],
      [/^identity\.journal$/, 2],
      [/^agent\.crt$/, 0],
      [/agent|journal/, 10],
      [/agent|journal/, 30],
    ] as const;
    for (const [round, [mark, within]] of moments.entries()) {
      const { agent, before } = await servingSince(-200, 100);
      const effects = watchEffects([home, join(home, 'state')], mark);
      const pinging = library.ping({ hosts: ['web-01'] });
      await Promise.race([effects.began, pinging]);
      if (within > 0) await new Promise((resolve) => setTimeout(resolve, Math.random() * within));
      await fleet().down('web-01', 'SIGKILL');
      await pinging;
      await effects.end();

      await fleet().up('web-01');
      expect(isInterrupted(home)).toBe(false);
      expect(lookAtAgent(home)).toBeDefined();
      // Whichever of the two keys it has: this is the one that is asked, and the other one goes.
      const [ping] = value(await library.ping({ hosts: ['web-01'] })).results;
      expect({ round, ...ping }).toMatchObject({ round, status: 'ok' });
      expect(identityOf(agent).serial).not.toBe(before.serial);
      expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
      expect(await pinsOf('web-01')).toEqual([{ serial: identityOf(agent).serial, state: 'active' }]);
    }
    const { looks, wrong } = await keys.seen();
    expect(wrong).toEqual([]);
    expect(looks).toBeGreaterThan(100);
  });
});

/** Stands before an agent with the keys of both sides, and notes what is asked of it. */
async function recorder(own: () => Credentials, upstreamPort?: number) {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const known = new Map<string, Credentials>();
  const remember = (credentials: Credentials) =>
    known.set(new X509Certificate(credentials.certificate).fingerprint256, credentials);
  remember(own());
  const server = createServer(async (accepted) => {
    sockets.add(accepted);
    accepted.on('error', () => undefined);
    const upstream =
      upstreamPort === undefined
        ? undefined
        : await openTls(upstreamPort, dispatcherCredentials(fleet().control));
    remember(own());
    // What the agent itself shows on this connection: its files may be a moment ahead.
    const shown = upstream && known.get(upstream.getPeerCertificate().fingerprint256);
    const { key, certificate } = shown ?? own();
    const ca = readFileSync(join(fleet().control.home, 'ca.crt'));
    const client = new TLSSocket(accepted, {
      isServer: true,
      key,
      cert: certificate,
      ca,
      requestCert: true,
      rejectUnauthorized: false,
    });
    client.on('error', () => undefined);
    client.on('data', (bytes: Buffer) => {
      const line = /^[A-Z]+ \S+(?= HTTP)/.exec(bytes.toString('latin1'));
      requests.push(line?.[0] ?? 'something');
    });
    if (upstream === undefined) return;
    sockets.add(upstream);
    client.pipe(upstream).pipe(client);
    upstream.on('close', () => client.destroy());
    client.on('close', () => upstream.destroy());
  });
  const port = await listening(server);
  atEnd(
    () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(resolve);
      }),
  );
  return { port, requests };
}

async function reachedAt(port: number) {
  const ended = await fleet().control.command('edit-agent', 'web-01', '--agent-port', String(port));
  expect(ended, ended.stderr).toMatchObject({ code: 0 });
}

describe('readmit', () => {
  it('brings an agent back whose certificate has expired, by nothing but a renewal', async () => {
    const { control, library } = fleet();
    const { agent, daemon, before } = await servingSince(-100, -1);
    const real = agent.port;
    const { port, requests } = await recorder(() => agentCredentials(agent), real);
    await reachedAt(port);
    try {
      for (const command of [
        ['run', 'web-01', 'count'],
        ['ping', 'web-01'],
      ]) {
        const refused = await control.command(...command);
        expect(refused.code).toBe(1);
        expect(refused.stdout + refused.stderr).toMatch(/expired.*`ctrl-exec readmit/);
      }
      const maintained = JSON.parse((await control.command('maintain', '--json')).stdout);
      expect(maintained.renewed).toEqual([]);
      expect(maintained.failed).toMatchObject([
        { name: 'web-01', reason: expect.stringMatching(/`ctrl-exec readmit/) },
      ]);
      expect(requests).toEqual([]);

      const counted = fleet().counted('web-01');
      const readmitted = await control.command('readmit', 'web-01');
      expect(readmitted).toMatchObject({ code: 0, stderr: '' });
      const { serial, notAfter } = identityOf(agent);
      const until = new Date(notAfter).toISOString().slice(0, 16).replace('T', ' ');
      expect(readmitted.stdout).toBe(`web-01: certificate ${serial}, valid until ${until}Z\n`);
      expect(requests).toEqual(['POST /renew', 'POST /renew-complete', 'POST /ping']);
      expect(serial).not.toBe(before.serial);
      expect(fleet().counted('web-01')).toBe(counted);
    } finally {
      await reachedAt(real);
    }
    expect(alive(daemon)).toBe(true);
    expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
    expect(await control.command('run', 'web-01', 'hello')).toMatchObject({ code: 0 });
  });

  it('takes nobody else: not a host with another key at that address, whatever its certificate says', async () => {
    const { control } = fleet();
    const { agent, before } = await servingSince(-100, -1);
    const real = agent.port;
    const other = await issuedFor(control, 'web-01', { from: -100, until: -1 });
    const { port, requests } = await recorder(() => other);
    await reachedAt(port);
    try {
      const refused = await control.command('readmit', 'web-01');
      expect(refused).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toMatch(
        /^wrong identity: the host that answers for web-01 has the key of .*nothing was sent\n$/,
      );
      // One that is in date is no better.
      const valid = agentCredentials(fleet().agent('web-02'));
      const second = await recorder(() => valid);
      await reachedAt(second.port);
      expect((await control.command('readmit', 'web-01')).stderr).toMatch(/^wrong identity: /);
      expect([...requests, ...second.requests]).toEqual([]);
    } finally {
      await reachedAt(real);
    }
    expect(identityOf(agent).serial).toBe(before.serial);
    const again = await control.command('readmit', '--json', 'WEB-01');
    expect(again, again.stderr).toMatchObject({ code: 0 });
    expect(JSON.parse(again.stdout)).toMatchObject({
      ok: 1,
      host: 'web-01',
      serial: identityOf(agent).serial,
    });
    expect(identityOf(agent).serial).not.toBe(before.serial);
  });

  it('brings an agent back whose certificate a clock has made that was ahead', async () => {
    const { control, library } = fleet();
    const { agent, before } = await servingSince(10, 100);
    const refused = await control.command('run', 'web-01', 'hello');
    expect(refused.stdout).toMatch(/not valid yet.*where that is right, `ctrl-exec readmit`/);
    expect(await control.command('readmit', 'web-01')).toMatchObject({ code: 0, stderr: '' });
    expect(identityOf(agent).serial).not.toBe(before.serial);
    expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
  });

  it('of an agent that is not there, or not known, says so', async () => {
    const { control } = fleet();
    await fleet().down('web-01');
    const away = await control.command('readmit', 'web-01');
    expect(away).toMatchObject({ code: 1, stdout: '' });
    expect(away.stderr).toMatch(/nothing listens/);
    const unknown = await control.command('readmit', 'nobody');
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toMatch(/no agent of that name is registered/);
    const told = await control.command('readmit', '--json', 'nobody');
    expect(told.code).toBe(1);
    expect(JSON.parse(told.stdout)).toEqual({ ok: 0, error: told.stderr.trim() });
  });
});
