import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { shared } from '../../support/commands/commands.js';
import { dispatcherCredentials, serialOf } from '../../support/fleet/fleet.js';
import { identityOf, ran, servingFleet, trustedBy } from '../../support/fleet/lifecycle-fleet.js';
import { noOpenssl, openssl } from '../../support/network/openssl.js';
import { signedConnection } from '../../support/network/signed-client.js';

const fleet = shared(() => servingFleet(['web-01', 'db-01']));

const bothUp = () => Promise.all([fleet().up('web-01'), fleet().up('db-01')]);
const listOf = (name: string) => join(fleet().agent(name).home, 'state/crl.pem');
const held = (name: string) => (existsSync(listOf(name)) ? readFileSync(listOf(name), 'utf8') : '');

const revoke = async (what: string) => {
  const { code, stdout, stderr } = await fleet().control.command('revoke', '--json', what);
  return { code, stderr, ...JSON.parse(stdout || '{}') };
};

let hosts = 0;
/** A further agent, which a test may lose. */
async function lostHost(): Promise<string> {
  const name = `lost-${++hosts}`;
  await fleet().add(name);
  await fleet().up(name);
  return name;
}

/** A serial that no certificate has. */
const unusedSerial = () => `1f${randomBytes(15).toString('hex')}`;

/** Every serial of a list, as openssl reads it. */
const listed = (path: string) =>
  [...openssl(['crl', '-text', '-noout', '-in', path]).text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(
    (found) => (found[1] ?? '').toLowerCase(),
  );

describe('an agent that is revoked', () => {
  it.skipIf(noOpenssl.missing)(
    `is on a list that openssl reads and verifies, of a number that grows${noOpenssl.because}`,
    async () => {
      await bothUp();
      const { control } = fleet();
      const number = (name: string) =>
        Number.parseInt(
          /crlNumber=(?:0x)?([0-9A-F]+)/.exec(
            openssl(['crl', '-crlnumber', '-noout', '-in', listOf(name)]).text,
          )?.[1] ?? '',
          16,
        );
      const name = await lostHost();
      const { serial } = identityOf(fleet().agent(name));
      const nobodys = unusedSerial();
      const first = await revoke(nobodys.toUpperCase().replace(/..(?=.)/g, '$&:'));
      expect(first).toMatchObject({ code: 0, ok: 1, serials: [nobodys], pending: [] });
      expect(first.told).toEqual(expect.arrayContaining(['db-01', 'web-01', name]));
      expect(number('web-01')).toBe(first.number);
      const certificate = join(fleet().agent(name).home, 'agent.crt');
      const second = await revoke(openssl(['x509', '-serial', '-noout', '-in', certificate]).text.trim());
      expect(second).toMatchObject({ code: 0, serials: [serial], name, number: first.number + 1 });
      for (const each of ['web-01', 'db-01']) {
        expect(number(each)).toBe(second.number);
        expect(listed(listOf(each))).toEqual(expect.arrayContaining([nobodys, serial]));
        const ca = join(fleet().agent(each).home, 'ca.crt');
        expect(openssl(['crl', '-verify', '-noout', '-CAfile', ca, '-in', listOf(each)]).text).toMatch(
          /verify OK/,
        );
      }
      // By that list openssl refuses the certificate, and takes another.
      const check = [
        'verify',
        '-crl_check',
        '-CAfile',
        join(control.home, 'ca.crt'),
        '-CRLfile',
        listOf('web-01'),
      ];
      expect(openssl([...check, join(fleet().agent('web-01').home, 'agent.crt')]).text).toMatch(/OK/);
      expect(() => openssl([...check, certificate])).toThrow(/certificate revoked/);
      // Once more is no change.
      expect(await revoke(name)).toMatchObject({ code: 0, number: second.number });
    },
  );

  it('is pending for an agent that is away, which gets the list with its first contact and keeps it', async () => {
    await bothUp();
    const { control, library } = fleet();
    await fleet().down('db-01');
    const before = held('db-01');
    const revoked = await control.command('revoke', unusedSerial());
    expect(revoked.code).toBe(1);
    expect(revoked.stdout).toMatch(/\n {2}pending db-01: .*nothing listens/);
    await fleet().up('db-01');
    expect(held('db-01')).toBe(before);
    expect(await ran(library, 'db-01', 'hello')).toMatchObject({ exit: 0 });
    const list = held('db-01');
    expect(list).not.toBe(before);
    await fleet().down('db-01', 'SIGKILL');
    await fleet().up('db-01');
    expect(await ran(library, 'db-01', 'hello')).toMatchObject({ exit: 0 });
    expect(held('db-01')).toBe(list);
  });

  it('what cannot be revoked is refused, and changes nothing', async () => {
    await bothUp();
    const { control } = fleet();
    const own = serialOf(dispatcherCredentials(control));
    const present = await control.command('revoke', own);
    expect(present).toMatchObject({ code: 64, stdout: '' });
    expect(present.stderr).toMatch(
      /is the serial of this dispatcher: use rotate-cert, then revoke the old one/,
    );
    const unknown = await control.command('revoke', 'no such host');
    expect(unknown).toMatchObject({ code: 64, stdout: '' });
    expect(unknown.stderr).toMatch(/nothing to revoke: expected the name of a registered agent, or a serial/);
    expect(await ran(fleet().library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
  });
});

describe('a revoked serial of the dispatcher', () => {
  const refused = { status: 403, signature: 'holds', body: { error: 'certificate revoked' } };

  it('is refused by agents: on a connection that was open before, on new ones, and after a restart', async () => {
    await bothUp();
    const { control, library } = fleet();
    const { port } = fleet().agent('web-01');
    const stolen = dispatcherCredentials(control);
    const old = serialOf(stolen);
    expect(await control.command('rotate-cert')).toMatchObject({ code: 0 });
    const run = (reqid: string) => ({ path: '/run', body: { script: 'count', args: [], reqid } });
    const thief = await signedConnection(port, stolen);
    // Within the overlap it still holds.
    expect(await thief.ask(run('before'))).toMatchObject({ status: 200, signature: 'holds' });
    const counted = fleet().counted('web-01');

    expect(await revoke(old)).toMatchObject({ code: 0, serials: [old], pending: [] });
    expect(await thief.ask(run('after'))).toEqual(refused);
    expect(await (await signedConnection(port, stolen)).ask(run('anew'))).toEqual(refused);
    const db = await signedConnection(fleet().agent('db-01').port, stolen);
    expect(await db.ask({ path: '/ping', body: { reqid: 'ping' } })).toEqual(refused);

    await fleet().down('web-01', 'SIGKILL');
    const daemon = await fleet().up('web-01');
    expect(await (await signedConnection(port, stolen)).ask(run('later'))).toEqual(refused);
    await daemon.shows(/ACTION=request-refused .*REASON="certificate revoked"/, 'stderr');
    // Nor does it lead anywhere: what it may vouch for is refused before it is read.
    const chain = { serial: old, action: 'add', succession: [] };
    expect(
      (await (await signedConnection(port, stolen)).ask({ path: '/rotate-serial', body: chain })).status,
    ).toBe(403);
    expect(fleet().counted('web-01')).toBe(counted);
    expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
    expect(await control.command('run', 'web-01', 'db-01', 'hello')).toMatchObject({ code: 0 });
  });

  it('a request under way when the list arrives is not carried out', async () => {
    await bothUp();
    const { control } = fleet();
    const { port } = fleet().agent('web-01');
    const stolen = dispatcherCredentials(control);
    expect(await control.command('rotate-cert')).toMatchObject({ code: 0 });
    const thief = await signedConnection(port, stolen);
    const { bytes, onWire } = thief.compose({
      path: '/run',
      body: { script: 'count', args: [], reqid: 'half' },
    });
    const counted = fleet().counted('web-01');
    // All but its last byte: the head was judged while the certificate was still good.
    thief.socket.write(bytes.subarray(0, -1));
    expect(await revoke(serialOf(stolen))).toMatchObject({ code: 0 });
    expect(await thief.send({ onWire, bytes: Buffer.from(bytes.subarray(-1)) })).toEqual(refused);
    expect(fleet().counted('web-01')).toBe(counted);
  });

  it('an agent that was away for both learns of it before anything else is asked of it', async () => {
    await bothUp();
    const { control, library } = fleet();
    await fleet().down('db-01');
    const stolen = dispatcherCredentials(control);
    const old = serialOf(stolen);
    await control.command('rotate-cert');
    expect(await revoke(old)).toMatchObject({ code: 1, pending: [{ name: 'db-01' }] });
    await fleet().up('db-01');
    const { port } = fleet().agent('db-01');
    const thief = await signedConnection(port, stolen);
    const ping = { path: '/ping', body: { reqid: 'ping' } };
    // Until it has heard of the list nothing tells it apart.
    expect(await thief.ask(ping)).toMatchObject({ status: 200 });
    expect(await ran(library, 'db-01', 'hello')).toMatchObject({ exit: 0 });
    expect(await thief.ask(ping)).toEqual(refused);
    expect(trustedBy(fleet().agent('db-01'))).toContain(serialOf(dispatcherCredentials(control)));
  });
});
