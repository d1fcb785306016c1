import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Libsql from 'libsql';
import { describe, expect, it } from 'vitest';
import { openDispatcher } from '../../../src/apps/library/index.js';
import { value } from '../../contract/result.js';
import { atEnd } from '../../support/commands/commands.js';
import { ourAgent, takenOver } from '../../support/legacy/beside-ours.js';
import { legacySerial } from '../../support/legacy/ca.js';
import { legacyDispatcher } from '../../support/legacy/dispatcher.js';
import { lwpAsk } from '../../support/legacy/lwp.js';
import { missingForLwp, realLwp } from '../../support/legacy/perl.js';
import { legacySerialScript } from '../../support/legacy/run.js';

describe('our agent', () => {
  it.skipIf(missingForLwp !== undefined)(
    `serves real LWP${missingForLwp === undefined ? '' : ` (skipped: ${missingForLwp})`}`,
    async () => {
      const { identity, agent } = await ourAgent();
      await agent.serve();
      const url = (path: string) => `https://127.0.0.1:${agent.port}${path}`;
      const ask = async (path: string, body?: unknown) => {
        const sent = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
        const { line, body: answer } = await realLwp(identity, identity.ca, url(path), sent);
        return { line, json: JSON.parse(answer.toString()) };
      };
      expect(await ask('/run', { script: 'hello', args: ['é'], reqid: '00b1a684576c534a' })).toEqual({
        line: '200 OK',
        json: { script: 'hello', exit: 3, stdout: 'hello é\n', stderr: '', reqid: '00b1a684576c534a' },
      });
      expect(
        (await ask('/run', { script: 'hello', args: [1.5], reqid: '00b1a684576c534d' })).json,
      ).toMatchObject({
        exit: 3,
        stdout: 'hello 1.5\n',
      });
      expect((await ask('/run', { script: 'script.sh', reqid: '00b1a684576c534e' })).json).toMatchObject({
        exit: -1,
        error: 'script not permitted',
      });
      expect((await ask('/ping', { reqid: 'r1' })).json).toMatchObject({ status: 'ok', reqid: 'r1' });
      expect((await ask('/capabilities')).json.scripts.map(({ name }: { name: string }) => name)).toEqual([
        'hello',
        'long',
      ]);
      expect((await ask('/nothing')).line).toBe('401 Unauthorized');
    },
  );

  it('answers an old dispatcher byte for byte where a name is not permitted or arguments are no strings', async () => {
    const { identity, agent } = await ourAgent();
    await agent.serve();
    const said = async (request: string) => {
      const { status, body } = await lwpAsk(identity, '127.0.0.1', agent.port, {
        method: 'POST',
        path: '/run',
        body: Buffer.from(request),
      });
      return [status, body.toString()];
    };
    expect(await said('{"script":"script.sh","args":[],"reqid":"00b1a684576c534a"}')).toEqual([
      200,
      '{"script":"script.sh","exit":-1,"error":"script not permitted","reqid":"00b1a684576c534a"}',
    ]);
    expect(await said('{"script":"hello","args":[1.50,2],"reqid":"00b1a684576c534b"}')).toEqual([
      200,
      '{"script":"hello","reqid":"00b1a684576c534b","exit":3,"stdout":"hello 1.5\\n","stderr":""}',
    ]);
    expect(await said('{"script":"hello","args":[null],"reqid":"00b1a684576c534c"}')).toEqual([
      200,
      '{"script":"hello","exit":-1,"error":"args must be strings without NUL","reqid":"00b1a684576c534c"}',
    ]);
  });

  it.each(['0.9', '0.12'] as const)('is renewed by an old dispatcher of %s, at once', async (version) => {
    const { ca, identity, agent } = await ourAgent();
    await agent.serve();
    const old = legacyDispatcher({ version, identity, ca });
    const renewed = await old.renew('127.0.0.1', agent.port, 'web-01');
    expect(renewed).toMatchObject({ status: 'ok', answer: { status: 'ok', staged: false } });
    expect(readFileSync(join(agent.home, 'agent.crt'), 'utf8')).toBe(renewed['certificate']);
    expect(await old.ping('127.0.0.1', agent.port)).toMatchObject({ status: 'ok' });
  });

  it.each(['0.9', '0.12'] as const)('follows an old dispatcher of %s to its next serial', async (version) => {
    const { ca, identity, agent } = await ourAgent({ lastSerial: '1a000000' });
    await agent.serve();
    const old = legacyDispatcher({ version, identity });
    const next = await ca.issue('ctrl-exec-dispatcher-next');
    const following = legacyDispatcher({ version, identity: next });
    expect(await following.ping('127.0.0.1', agent.port)).toMatchObject({ status: 'error' });
    expect(await old.rotateSerial('127.0.0.1', agent.port, next.serial)).toMatchObject({ exit: 0 });
    expect(await following.ping('127.0.0.1', agent.port)).toMatchObject({ status: 'ok' });
    await following.rotateSerial('127.0.0.1', agent.port, identity.serial, 'remove');
    expect(await old.ping('127.0.0.1', agent.port)).toMatchObject({ status: 'error' });
  });
});

/** As if what is pinned would end now: an old CA cannot be made to date a certificate back. */
function aged(home: string) {
  const store = new Libsql(join(home, 'state/ctrl-exec.db'));
  store.prepare('UPDATE pins SET not_after = issued_at + 1').run([]);
  store.close();
}

/** The dispatcher of that home, as a library. */
async function dispatcherOf(home: string) {
  const dispatcher = await openDispatcher({ home });
  atEnd(() => dispatcher.close());
  return dispatcher;
}

describe('an old agent', () => {
  it('refuses a name that no allowlist holds, which is a result', async () => {
    const { name, command } = await takenOver('0.12', {});
    const { code, stdout } = await command('run', name, 'script.sh');
    expect([code, stdout.replace(/\d+ms {2}req:[0-9a-f]{16}/, '1ms  req:x')]).toEqual([
      1,
      `==> ${name}  [FAIL  exit:-1  1ms  req:x]\n    ERROR: script not permitted\n`,
    ]);
  });

  it('that has had enough connections closes them, and people are told why', async () => {
    const { name, agent, command } = await takenOver('0.8', { rateLimit: true });
    let answered = 0;
    for (let attempt = 0; attempt < 11; attempt += 1) {
      const { code, stdout } = await command('ping', name);
      if (code === 0) answered += 1;
      else
        expect(stdout).toMatch(/10 times within a minute.*closes connections from this host for 5 minutes/);
    }
    expect({ answered, blocked: agent.blocked() }).toEqual({ answered: 10, blocked: 1 });
    expect(agent.stopped()).toBeUndefined();
  });

  it('of 0.12 is renewed by maintenance once, and takes the certificate at its next start', async () => {
    const { name, agent, command, home } = await takenOver('0.12', {});
    expect((await command('ping', name)).code).toBe(0);
    aged(home);
    const later = await dispatcherOf(home);
    const maintained = value(await later.maintain());
    expect(maintained).toMatchObject({ renewed: [name] });
    const staged = agent.staged() ?? '';
    expect(staged).toContain('BEGIN CERTIFICATE');
    expect(value(await later.maintain()).renewed).toEqual([]);
    expect((await command('ping', name)).code).toBe(0);
    await agent.restart();
    expect(agent.certificate()).toBe(staged);
    expect((await command('ping', name)).code).toBe(0);
    const [record] = value(await later.agents());
    expect(record?.pins.map(({ state, serial }) => [state, serial])).toEqual([
      ['active', legacySerial(staged).replace(/^0+/, '')],
    ]);
  });

  it('of 0.8 cannot be renewed, which maintenance says; nothing else is lost', async () => {
    const { name, command, home } = await takenOver('0.8', {});
    expect((await command('ping', name)).code).toBe(0);
    aged(home);
    const later = await dispatcherOf(home);
    const { failed } = value(await later.maintain());
    expect(failed).toContainEqual({ name, reason: expect.stringContaining('not found') });
    expect((await command('ping', name)).code).toBe(0);
  });

  it.each(['0.8', '0.12'] as const)(
    'of %s follows a rotation, stops at the reload as it always did, and is reported',
    async (version) => {
      const { name, agent, command, agents } = await takenOver(version, {
        scripts: new Map([legacySerialScript]),
      });
      await agents[1].startOld({ scripts: new Map([legacySerialScript]), respawns: true });
      const [one, two] = agents;
      expect((await command('ping', one.name, two.name)).code).toBe(0);
      const rotated = await command('rotate-cert');
      expect(rotated.stdout).toMatch(/is in use/);
      expect(rotated.stdout).toContain(`pending ${name}: it took the serial and stopped`);
      expect(agent.stopped()).toBeDefined();
      expect((await command('serial-status')).stdout).toMatch(new RegExp(`^${name} +pending`, 'm'));
      await agent.restart();
      const pinged = await command('ping', one.name, two.name);
      expect(pinged.code, pinged.stdout + pinged.stderr).toBe(0);
      expect((await command('serial-status')).stdout).toMatch(new RegExp(`^${name} +current`, 'm'));
    },
  );
});
