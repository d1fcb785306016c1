import { describe, expect, it } from 'vitest';
import { processOutcome } from '../../../../src/adapters/memory/process-runner.js';
import { maxLegacyAnswer } from '../../../../src/domain/legacy/answer.js';
import { createAgent } from '../../../../src/sdk/agent/agent.js';
import { value } from '../../../contract/result.js';
import { eventsOf } from '../../../support/fleet/events.js';
import {
  type AgentOptions,
  type Asked,
  servingAgent,
  trustedSerial,
} from '../../../support/fleet/memory-agents.js';

const accepting = (options: AgentOptions = {}) =>
  servingAgent({
    configuration: 'accept_legacy_dispatchers = yes',
    programs: { '/opt/greet': ({ args }) => processOutcome(0, `hello ${args.join(' ')}\n`) },
    ...options,
  });

const legacy = (asked: Asked): Asked => ({ unsigned: true, ...asked });
const run = (reqid = 'eab1731a91c588ee'): Asked =>
  legacy({ path: '/run', body: { script: 'greet', args: ['you'], reqid, username: '', token: '' } });

describe('a request that is not signed', () => {
  it('is served where legacy dispatchers are accepted: run, ping, capabilities', async () => {
    const { ask } = await accepting();
    const ran = await ask(run());
    expect({ status: ran.status, json: ran.json }).toEqual({
      status: 200,
      json: { script: 'greet', reqid: 'eab1731a91c588ee', exit: 0, stdout: 'hello you\n', stderr: '' },
    });
    expect((await ask(legacy({ path: '/ping', body: { reqid: 'r1' } }))).json).toMatchObject({
      status: 'ok',
      staged: false,
      reqid: 'r1',
    });
    const told = await ask(legacy({ method: 'GET', path: '/capabilities' }));
    expect(told.json).toMatchObject({ status: 'ok', scripts: [{ name: 'greet' }] });
  });

  it('is refused where they are not, and the log says how that is changed', async () => {
    const { ask, events } = await accepting({ configuration: '' });
    expect(await ask(run())).toMatchObject({
      status: 401,
      json: { error: 'signature required' },
      bodyReads: 0,
    });
    const [refused] = eventsOf(events, 'request-unverified');
    expect(refused?.fields.reason).toContain('accept_legacy_dispatchers is off');
  });

  it.each([
    ['an unknown serial', { serial: 'dd01' }],
    ['no certificate', { serial: undefined }],
  ])('of %s is refused, as ever', async (_, who) => {
    const { ask } = await accepting();
    expect(await ask({ ...run(), ...who })).toMatchObject({ status: 403, bodyReads: 0 });
  });

  it('of a revoked serial is refused', async () => {
    const { ask } = await accepting({ revoked: `${trustedSerial}\n` });
    expect((await ask(run())).json).toEqual({ error: 'certificate revoked' });
  });

  it.each([
    ['POST', '/v2/crl'],
    ['POST', '/v2/cas'],
    ['POST', '/v2/cancel'],
    ['GET', '/nothing'],
    ['POST', '/renewal'],
  ])('%s %s is for signers only', async (method, path) => {
    const { ask } = await accepting();
    const { status, bodyReads } = await ask(legacy({ method, path }));
    expect({ status, bodyReads }).toEqual({ status: 401, bodyReads: 0 });
  });

  it('is refused once its certificate has signed, also after a restart, until a person says otherwise', async () => {
    const agent = await accepting();
    expect((await agent.ask(run())).status).toBe(200);
    expect((await agent.ask({ path: '/ping' })).status).toBe(200);
    expect(await agent.ask(run())).toMatchObject({ status: 401, bodyReads: 0 });
    const store = agent.context.keyStore(undefined as never);
    const again = await accepting({ keyStore: store, paired: false });
    expect((await again.ask(run())).status).toBe(401);
    value(await createAgent(again.context).acceptUnsigned(trustedSerial));
    value(await again.serving.reload());
    expect((await again.ask(run())).status).toBe(200);
  });

  it('of another dispatcher goes on, when one has signed', async () => {
    const { ask } = await accepting({ trust: `${trustedSerial} control\nee02 other\n` });
    expect((await ask({ path: '/ping' })).status).toBe(200);
    expect((await ask({ ...run(), serial: 'ee02' })).status).toBe(200);
    expect((await ask(run())).status).toBe(401);
  });

  it('that ends after its dispatcher has signed is refused', async () => {
    const agent = await accepting();
    const sent = await agent.make({
      ...run(),
      whileSending: async () => {
        await agent.ask({ path: '/ping' });
      },
    });
    expect(await agent.send(sent)).toMatchObject({ status: 401 });
    expect(eventsOf(agent.events, 'run-start')).toEqual([]);
  });

  it('with a signature that does not hold is refused, whatever is accepted without one', async () => {
    const agent = await accepting();
    const sent = await agent.make({ path: '/run', body: { script: 'greet' } });
    const headers = sent.headers.filter(([name]) => name !== 'signature');
    expect(await agent.send({ ...sent, headers }, { verify: false })).toMatchObject({ status: 401 });
    expect(eventsOf(agent.events, 'run-start')).toEqual([]);
  });

  it('runs again under a reqid of before: a legacy dispatcher promises nothing', async () => {
    const { ask, events } = await accepting();
    await ask(run('r1'));
    await ask(run('r1'));
    expect(eventsOf(events, 'run-end')).toHaveLength(2);
  });
});

describe('what a legacy dispatcher can take', () => {
  it('is less than 64 KiB of result: head and tail, and what there was in all', async () => {
    const text = `begin${'x'.repeat(300_000)}end`;
    const { ask } = await accepting({ programs: { '/opt/greet': () => processOutcome(0, text) } });
    const { json, answer } = await ask(run());
    expect(answer.body.length).toBeLessThanOrEqual(maxLegacyAnswer);
    expect(/^beginx+\n\[\.\.\. \d+ of 300008 bytes left out.*\]\nx+end$/.test(String(json['stdout']))).toBe(
      true,
    );
    expect(json['truncated']).toEqual({ stdout: text.length });
  });
});

describe('the serials of a legacy dispatcher', () => {
  const trustOf = async ({ context }: Awaited<ReturnType<typeof accepting>>) =>
    value(await context.keyStore(undefined as never).read(['trusted-dispatchers']))['trusted-dispatchers'];
  const script = (...args: readonly string[]) =>
    legacy({ path: '/run', body: { script: 'update-ctrl-exec-serial', args, reqid: 'r1' } });

  it('change by /rotate-serial', async () => {
    const agent = await accepting();
    const add = { serial: '0ABC', action: 'add' };
    expect((await agent.ask(legacy({ path: '/rotate-serial', body: add }))).json).toEqual({
      status: 'ok',
      action: 'add',
      serial: 'abc',
      dispatcher: 'control',
    });
    expect(await trustOf(agent)).toBe(`${trustedSerial} control\nabc control\n`);
  });

  it('change by the script of older ones, under the identity of the caller only', async () => {
    const agent = await accepting();
    const { json } = await agent.ask(script('0badcafe', 'somebody-else'));
    expect(json).toEqual({ script: 'update-ctrl-exec-serial', exit: 0, stdout: '', stderr: '', reqid: 'r1' });
    expect(await trustOf(agent)).toBe(`${trustedSerial} control\nbadcafe control\n`);
    // Only the new one retires the old one.
    expect((await agent.ask(script('--remove', 'badcafe'))).json).toMatchObject({
      exit: 2,
      stderr: `nothing shows that ${trustedSerial} replaces badcafe\n`,
    });
    const next = { ...script('--remove', trustedSerial), serial: 'badcafe' };
    expect((await agent.ask(next)).json['exit']).toBe(0);
    expect(await trustOf(agent)).toBe('badcafe control\n');
    expect((await agent.ask({ ...script('no serial'), serial: 'badcafe' })).json).toMatchObject({
      exit: 2,
      stderr: 'serial must be hex\n',
    });
  });

  it('are no script to one of ours', async () => {
    const { ask } = await accepting();
    const { json } = await ask({ path: '/run', body: { script: 'update-ctrl-exec-serial', args: ['ab'] } });
    expect(json).toMatchObject({ exit: -1, error: 'script not permitted' });
  });
});

describe('a renewal by a legacy dispatcher', () => {
  it('is over the key that there is, and what it does not take is an error by status', async () => {
    const { ask } = await accepting();
    const begun = await ask(legacy({ path: '/renew', body: { reqid: 'r1' } }));
    expect(begun.json).toMatchObject({ status: 'ok', csr: expect.stringContaining('CERTIFICATE REQUEST') });
    const ended = await ask(legacy({ path: '/renew-complete', body: { reqid: 'r1', cert: 'none' } }));
    expect({ status: ended.status, json: ended.json }).toEqual({
      status: 409,
      json: { status: 'error', error: 'cert is not a certificate' },
    });
  });
});
