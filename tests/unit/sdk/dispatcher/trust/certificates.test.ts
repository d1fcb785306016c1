import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import { failure, value } from '../../../../contract/result.js';
import { dispatcherOver, issueAgent, register, withPorts } from '../../../../support/fleet/memory-agents.js';
import {
  identify,
  type MemoryFleet,
  memoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(() => {
  fleet = memoryFleet();
  control = fleet.dispatcher();
});

const certificates = async () => value(await control.dispatcher.certificates());

describe('certificates', () => {
  it('are those of the CA, of the dispatcher and of each agent, as they were issued', async () => {
    const { serial, notAfter } = await identify(control);
    const web = await issueAgent(control, 'web-01');
    await register(control, 'web-01', web);
    const { fingerprint } = value(await control.dispatcher.ca());
    const found = await certificates();
    expect(found).toMatchObject({
      ca: { fingerprint, subject: expect.stringMatching(/./) },
      dispatcher: { serial, notAfter },
      agents: [{ name: 'web-01', serial: web.certificate.serial, state: 'active' }],
    });
    expect(found.previousCa).toBeUndefined();
    expect(found.dispatcher).toEqual({ serial, notAfter });
  });

  it('show the one before while the dispatcher and the CA change theirs', async () => {
    const { serial } = await identify(control);
    const { ca } = await certificates();
    value(await fleet.settle(control.dispatcher.rotateCa()));
    const after = await certificates();
    expect(after.previousCa).toEqual(ca);
    expect(after.ca.serial).not.toBe(ca.serial);
    expect(after.dispatcher.previous?.serial).toBe(serial);
    expect(after.dispatcher.serial).not.toBe(serial);
  });

  it('that were revoked or have expired say so, revoked first', async () => {
    await identify(control);
    for (const name of ['db-01', 'web-01']) await register(control, name, await issueAgent(control, name));
    value(await fleet.settle(control.dispatcher.revoke('db-01')));
    const states = async () => (await certificates()).agents.map(({ name, state }) => [name, state]);
    expect(await states()).toEqual([
      ['db-01', 'revoked'],
      ['web-01', 'active'],
    ]);
    await fleet.clock.advance(400 * 86_400_000);
    expect(await states()).toEqual([
      ['db-01', 'revoked'],
      ['web-01', 'expired'],
    ]);
  });

  it('of a dispatcher that has none are an error that says what to run', async () => {
    const error = failure(await control.dispatcher.certificates());
    expect(error).toMatchObject({ code: 'ca_missing', message: expect.stringContaining('setup-ca') });
  });
});

describe('one agent', () => {
  it('is found by its name in any spelling, and a slip is told the name that is near', async () => {
    await identify(control);
    await register(control, 'web-01', await issueAgent(control, 'web-01'));
    expect(value(await control.dispatcher.agent('WEB-01')).name).toBe('web-01');
    const error = failure(await control.dispatcher.agent('web-O1'));
    expect(error).toMatchObject({ code: 'agent_unknown', message: expect.stringContaining('web-01') });
    expect(failure(await control.dispatcher.agent('a\nb')).code).toBe('invalid_argument');
  });
});

describe('a question to the hook', () => {
  const hooked = (code: number) => {
    const hook = memoryAuthHook(() => ({ kind: 'exited', code }));
    return { hook, dispatcher: dispatcherOver(withPorts(control, { hook })) };
  };

  it('names hosts as a request to them would, and is an Ok only for a yes', async () => {
    await identify(control);
    await register(control, 'web-01', await issueAgent(control, 'web-01'));
    const { hook, dispatcher } = hooked(0);
    const question = { action: 'run', script: 'deploy', hosts: ['WEB-01', 'web-01', 'Other:7'], args: ['a'] };
    const caller = { username: 'ann', token: 't', sourceIp: '192.0.2.9' };
    value(await dispatcher.authorise(question, { caller }));
    expect(hook.asked).toMatchObject([{ ...question, hosts: ['web-01', 'Other:7'], ...caller }]);
    const refused = hooked(3).dispatcher.authorise({ action: 'api' });
    expect(failure(await refused)).toMatchObject({ code: 'denied', hookCode: 3 });
  });

  it('without a hook is answered as the asker says', async () => {
    const { dispatcher } = control;
    expect((await dispatcher.authorise({ action: 'api' })).isOk()).toBe(true);
    const denied = await dispatcher.authorise({ action: 'api' }, { withoutHook: 'deny' });
    expect(failure(denied).code).toBe('denied');
  });

  it('about what is no host asks nobody', async () => {
    const { hook, dispatcher } = hooked(0);
    const error = failure(await dispatcher.authorise({ action: 'run', hosts: ['a b'] }));
    expect(error.code).toBe('invalid_argument');
    expect(hook.asked).toEqual([]);
  });
});
