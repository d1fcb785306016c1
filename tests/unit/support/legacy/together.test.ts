import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { legacyDispatcher } from '../../../support/legacy/dispatcher.js';
import { here, legacyInstallation, versions } from './shared-installation.js';

const { installation, peers } = legacyInstallation();
const renewing = versions.filter((version) => version === '0.12');
const notRenewing = versions.filter((version) => version !== '0.12');

describe.each(versions)('simulated peers of %s', (version) => {
  it('ping, and the agent says who it is', async () => {
    const { agent, dispatcher } = await peers(version);
    const answer = await dispatcher.ping(here, agent.port);
    expect(answer).toMatchObject({
      status: 'ok',
      host: 'vm',
      version: expect.stringMatching(new RegExp(`^${version}\\.\\d+$`)),
    });
    expect('staged' in answer).toBe(version === '0.12');
  });

  it('tell scripts', async () => {
    const { agent, dispatcher } = await peers(version, { tags: { env: 'prod' } });
    const { scripts, tags } = await dispatcher.capabilities(here, agent.port);
    expect(tags).toEqual({ env: 'prod' });
    expect((scripts as { name: string }[]).map(({ name }) => name)).toEqual([
      'echo',
      'update-ctrl-exec-serial',
    ]);
  });

  it('run a script with its arguments', async () => {
    const { agent, dispatcher } = await peers(version);
    const request = { script: 'echo', args: ['a b', 'é'], via: 'api' } as const;
    expect(await dispatcher.run(here, agent.port, request)).toMatchObject({ exit: 0, stdout: 'a b é\n' });
    const other = await dispatcher.run(here, agent.port, { script: 'other' });
    expect(other).toMatchObject({ exit: -1, error: 'script not permitted' });
  });

  it('run async where the version can, at once where it cannot', async () => {
    let finish = () => {};
    const waiting = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const scripts = new Map([
      [
        'slow',
        async () => {
          await waiting;
          return { exit: 3, stdout: 'done\n' };
        },
      ],
    ]);
    const { agent, dispatcher } = await peers(version, { scripts });
    const request = { script: 'slow', async: true, reqid: 'run-1' };
    if (version === '0.8') {
      finish();
      expect(await dispatcher.run(here, agent.port, request)).toMatchObject({ status: 'error' });
      expect(await dispatcher.result(here, agent.port, 'run-1')).toEqual({ status: 'unknown' });
      return;
    }
    expect(await dispatcher.run(here, agent.port, request)).toMatchObject({ status: 'accepted' });
    const again = await dispatcher.run(here, agent.port, { ...request, reqid: 'run-2' });
    expect(again).toMatchObject({ status: 'busy' });
    const running = await dispatcher.result(here, agent.port, 'run-1');
    expect(running).toMatchObject({ status: 'running', owner: 'control' });
    finish();
    const done = await dispatcher.result(here, agent.port, 'run-1');
    expect(done).toMatchObject({ status: 'done', exit: 3, stdout: 'done\n', script: 'slow' });
    expect(await dispatcher.result(here, agent.port, 'run-2')).toEqual({ status: 'unknown' });
  });

  it('a further serial, told under the trusted one, is trusted after the next start', async () => {
    const { agent, dispatcher } = await peers(version);
    const { ca, dispatcher: former } = installation();
    const successor = await ca.issue('ctrl-exec', { key: former.key });
    expect(await dispatcher.rotateSerial(here, agent.port, successor.serial)).toMatchObject({ exit: 0 });
    expect(agent.stopped()).toBe('it was told to reload');
    await agent.restart();
    const next = legacyDispatcher({ version, identity: successor });
    expect(await next.ping(here, agent.port)).toMatchObject({ status: 'ok' });
    // 0.8 knows one serial.
    const kept = await dispatcher.ping(here, agent.port);
    expect(kept['status']).toBe(version === '0.8' ? 'error' : 'ok');
    expect(agent.trusts(former.serial)).toBe(version !== '0.8');
  });

  it('a rotation as the real one does it reaches nobody: the new identity is not trusted yet', async () => {
    const { agent, dispatcher } = await peers(version);
    const before = dispatcher.identity();
    const target = { name: 'vm', host: here, port: agent.port };
    const [outcome] = await dispatcher.rotate([target]);
    expect(outcome).toMatchObject({
      serialStatus: 'pending',
      outcome: { error: 'forbidden: serial mismatch' },
    });
    expect(dispatcher.identity().serial).not.toBe(before.serial);
    expect(dispatcher.identity().key).not.toBe(before.key);
    expect(agent.trusted()).toHaveLength(1);
  });
});

it.each(notRenewing)(
  'an agent of %s is asked for a renewal with every ping, and has none',
  async (version) => {
    const { ca } = installation();
    const identity = await ca.issue('vm', { days: 100 });
    const { agent, dispatcher } = await peers(version, { identity });
    expect(await dispatcher.ping(here, agent.port)).toMatchObject({
      status: 'ok',
      renewed: { status: 'error', error: '404 Not Found' },
    });
    expect(agent.exchanges.map(({ request }) => request?.path)).toEqual(['/ping', '/renew']);
  },
);

describe.each(renewing)('a renewal of %s', (version) => {
  it('is staged until the agent starts again', async () => {
    const { agent, dispatcher } = await peers(version);
    const former = agent.certificate();
    const renewed = await dispatcher.renew(here, agent.port, 'vm');
    expect(renewed).toMatchObject({ status: 'ok', answer: { staged: true } });
    expect(agent.staged()).toBe(renewed['certificate']);
    expect(agent.certificate()).toBe(former);
    expect(await dispatcher.ping(here, agent.port)).toMatchObject({ staged: true });
    await agent.restart();
    expect(await dispatcher.ping(here, agent.port)).toMatchObject({ staged: false });
    expect(agent.certificate()).toBe(renewed['certificate']);
    expect(new X509Certificate(agent.certificate()).toLegacyObject().subject.CN).toBe('vm');
  });

  it('of another name than the registered one is not signed', async () => {
    const { agent, dispatcher } = await peers(version);
    expect(await dispatcher.renew(here, agent.port, 'VM')).toMatchObject({ status: 'error' });
    expect(agent.staged()).toBeUndefined();
  });

  it('over another key is refused, and the dispatcher takes the refusal for success', async () => {
    const { agent, dispatcher } = await peers(version);
    const { ca } = installation();
    const other = await ca.issue('another');
    const body = Buffer.from(JSON.stringify({ cert: other.certificate, ca: ca.pem, reqid: '1' }));
    const answer = await dispatcher.ask(here, agent.port, { method: 'POST', path: '/renew-complete', body });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body.toString())).toEqual({
      status: 'error',
      error: 'renewed cert public key does not match the agent key',
    });
    expect(agent.staged()).toBeUndefined();
  });
});
