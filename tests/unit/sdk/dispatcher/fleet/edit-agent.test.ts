import { beforeEach, describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import type { AgentEdit } from '../../../../../src/sdk/dispatcher/fleet/registered-agents.js';
import { failure, value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  dispatcherOver,
  issueAgent,
  register,
  scriptedAgent,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
  await register(control, 'web-01', await issueAgent(control, 'web-01'));
});

const before = { host: 'web-01', ip: '192.0.2.77', port: 7443, lookupBy: 'hostname' } as const;
const edit = (change: AgentEdit, name = 'web-01') => control.dispatcher.editAgent(name, change);
const agents = async () => value(await control.dispatcher.agents());
const edits = () => eventsOf(control.events, 'agent-edited').map(({ fields }) => fields);

describe('an edit', () => {
  it.each<[string, AgentEdit, object]>([
    ['the host name', { host: 'vm-7.example.org' }, { host: 'vm-7.example.org' }],
    ['the address', { ip: '198.51.100.7' }, { ip: '198.51.100.7' }],
    ['an IPv6 address, kept in its short form', { ip: '2001:DB8:0:0::7' }, { ip: '2001:db8::7' }],
    ['the port', { port: 65_535 }, { port: 65_535 }],
    ['how it is looked up', { lookupBy: 'ip' }, { lookupBy: 'ip' }],
    [
      'everything',
      { host: 'a', ip: '::1', port: 1, lookupBy: 'ip' },
      { host: 'a', ip: '::1', port: 1, lookupBy: 'ip' },
    ],
    ['nothing', {}, {}],
  ])('changes %s, and nothing else', async (_what, change, expected) => {
    const [old] = await agents();
    const record = value(await edit(change));
    expect(record).toEqual({ ...old, endpoint: { ...before, ...expected } });
    expect(await agents()).toEqual([record]);
    const { host: hostname, ip, port, lookupBy: lookup } = record.endpoint;
    expect(edits()).toEqual([{ host: 'web-01', from: undefined, hostname, ip, port, lookup }]);
  });

  it('renames, and the key stays pinned', async () => {
    const [old] = await agents();
    const record = value(await edit({ rename: 'web-02', port: 7000 }));
    expect(record).toEqual({ ...old, name: 'web-02', endpoint: { ...before, port: 7000 } });
    expect(await agents()).toEqual([record]);
    expect(edits()).toMatchObject([{ host: 'web-02', from: 'web-01', port: 7000 }]);
  });

  it('to its own name, in whatever case, renames nothing', async () => {
    expect(value(await edit({ rename: 'WEB-01' }, 'Web-01')).name).toBe('web-01');
    expect(edits()).toMatchObject([{ host: 'web-01', from: undefined }]);
  });

  it.each<[string, AgentEdit, string]>([
    ['a host name', { host: 'not a host' }, 'hostname'],
    ['an empty host name', { host: '' }, 'hostname'],
    ['an option as host name', { host: '-oProxyCommand=x' }, 'hostname'],
    ['an address', { ip: 'web-01' }, 'ip'],
    ['an address out of range', { ip: '300.0.2.1' }, 'ip'],
    ['an empty address', { ip: '' }, 'ip'],
    ['port 0', { port: 0 }, 'port'],
    ['port 65536', { port: 65_536 }, 'port'],
    ['half a port', { port: 7443.5 }, 'port'],
    ['no number as port', { port: Number.NaN }, 'port'],
    ['a new name', { rename: 'a b' }, 'rename'],
    ['a name that every host has', { rename: 'localhost' }, 'rename'],
    ['a wrong port next to a right name', { rename: 'web-02', port: 0 }, 'port'],
  ])('that is not right changes nothing: %s', async (_what, change, field) => {
    const old = await agents();
    expect(failure(await edit(change))).toMatchObject({ code: 'invalid_argument', field });
    expect(await agents()).toEqual(old);
    expect(edits()).toEqual([]);
  });

  it('of an agent that nobody knows, or whose name is none, is an error', async () => {
    expect(failure(await edit({ port: 1 }, 'web-09'))).toMatchObject({
      code: 'agent_unknown',
      name: 'web-09',
    });
    expect(failure(await edit({ port: 1 }, 'a b')).code).toBe('invalid_argument');
    expect(edits()).toEqual([]);
  });

  it.each([
    ['web-09', 'no agent of that name is registered: web-09 (did you mean web-01?)'],
    ['wbe-01', 'no agent of that name is registered: wbe-01 (did you mean web-01?)'],
    ['database', 'no agent of that name is registered: database (see the list of agents)'],
  ])('of %s, and to forget it, says which name may have been meant', async (name, message) => {
    expect(failure(await edit({ rename: 'x' }, name)).message).toBe(message);
    expect(failure(await control.dispatcher.unpair(name)).message).toBe(message);
  });

  it.each<[string, AgentEdit]>([
    ['a name and an address', { rename: 'web-02', ip: '198.51.100.7' }],
    ['an address', { ip: '198.51.100.7' }],
  ])('is one change of the registry: %s', async (_what, change) => {
    const changes: string[] = [];
    const { registry } = control.context;
    const counted = {
      ...registry,
      update: (...asked: Parameters<typeof registry.update>) => {
        changes.push(asked[0]);
        return registry.update(...asked);
      },
    };
    const dispatcher = dispatcherOver(withPorts(control, { registry: counted }));
    value(await dispatcher.editAgent('web-01', change));
    expect(changes).toEqual(['web-01']);
  });

  it('and another one at the same time both hold', async () => {
    const both = await Promise.all([edit({ ip: '198.51.100.7' }), edit({ port: 7000 })]);
    for (const each of both) value(each);
    expect(await agents()).toMatchObject([{ endpoint: { ip: '198.51.100.7', port: 7000 } }]);
  });

  it('does not take the name of another agent', async () => {
    await register(control, 'web-02', await issueAgent(control, 'web-02'));
    const old = await agents();
    expect(failure(await edit({ rename: 'web-02' })).code).toBe('agent_exists');
    expect(await agents()).toEqual(old);
    expect(edits()).toEqual([]);
  });

  it('that cannot rename leaves the endpoint as it was, too', async () => {
    await register(control, 'web-02', await issueAgent(control, 'web-02'));
    const old = await agents();
    expect((await edit({ rename: 'web-02', port: 7000 })).isErr()).toBe(true);
    expect(await agents()).toEqual(old);
  });

  it('decides where the next request goes', async () => {
    const alive = () => jsonAnswer(200, { status: 'ok' });
    const { seen } = await scriptedAgent(fleet, control, 'web-02', alive, { host: 'vm-7' });
    value(await edit({ host: 'nowhere.test' }, 'web-02'));
    const ping = async () => value(await control.dispatcher.ping({ hosts: ['web-02'] })).results;
    expect(await ping()).toMatchObject([{ status: 'error', error: expect.stringContaining('nowhere.test') }]);
    value(await edit({ host: 'vm-7' }, 'web-02'));
    expect(await ping()).toMatchObject([{ status: 'ok' }]);
    expect(seen).toHaveLength(1);
  });
});
