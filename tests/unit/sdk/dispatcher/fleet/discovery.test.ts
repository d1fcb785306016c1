import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { discover } from '../../../../../src/sdk/dispatcher/fleet/discovery.js';
import { failure, value } from '../../../../contract/result.js';
import {
  dispatcherOver,
  enrol,
  issueAgent,
  register,
  scriptedAgent,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  identify,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
});

const tagsOf = async (name: string) => value(await control.context.registry.find(name))?.tags;

describe('discovery', () => {
  it('reports scripts, tags and version of a real agent', async () => {
    const agent = fleet.agent('web-01', '[tags]\nenv = prod\n');
    await enrol(control, agent, 'web-01');
    value(await agent.agent.serve());
    const { hosts } = value(await discover(control.context));
    expect(hosts).toEqual([
      {
        host: 'web-01',
        status: 'ok',
        version: '1.2.3',
        rtt: 0,
        tags: { env: 'prod' },
        scripts: [
          { name: 'fail', path: '/opt/fail', executable: false },
          { name: 'greet', path: '/opt/greet', executable: false },
        ],
      },
    ]);
  });

  it('asks the whole registry when nobody is named, and only the named otherwise', async () => {
    for (const name of ['web-02', 'web-01'])
      await scriptedAgent(fleet, control, name, () => jsonAnswer(200, { scripts: [] }));
    const hostsOf = async (hosts?: string[]) =>
      value(await discover(control.context, hosts && { hosts })).hosts.map(({ host }) => host);
    expect(await hostsOf()).toEqual(['web-01', 'web-02']);
    expect(await hostsOf([])).toEqual(['web-01', 'web-02']);
    expect(await hostsOf(['web-02'])).toEqual(['web-02']);
  });

  it('of an empty registry finds nobody', async () => {
    const { hosts } = value(await discover(control.context));
    expect(hosts).toEqual([]);
  });

  it('refreshes the tags in the registry, and old ones go', async () => {
    let tags: unknown = { env: 'prod', rack: '7' };
    await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(200, { tags, scripts: [] }));
    const dispatcher = dispatcherOver(control.context);
    value(await dispatcher.discover());
    expect(value(await dispatcher.agents({ env: 'prod' })).length).toBe(1);
    tags = { env: 'test' };
    value(await dispatcher.discover());
    expect(await tagsOf('web-01')).toEqual({ env: 'test' });
    expect(value(await dispatcher.agents({ env: 'prod' }))).toEqual([]);
  });

  it('keeps the tags of an agent that does not answer', async () => {
    await register(control, 'web-01', await issueAgent(control, 'web-01'));
    value(await control.context.registry.update('web-01', { tags: { env: 'prod' } }));
    const { hosts } = value(await discover(control.context));
    expect(hosts).toMatchObject([{ host: 'web-01', status: 'error' }]);
    expect(await tagsOf('web-01')).toEqual({ env: 'prod' });
  });

  it('gives tags to the agent whose key answered, also when it was not named', async () => {
    await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(200, { tags: { a: 'b' }, scripts: [] }), {
      host: 'alias.test',
    });
    value(await discover(control.context, { hosts: ['alias.test'] }));
    expect(await tagsOf('web-01')).toEqual({ a: 'b' });
  });

  it('is not spoiled by an agent that is unpaired meanwhile, and by one that cannot be stored', async () => {
    await scriptedAgent(fleet, control, 'web-01', async () => {
      await control.dispatcher.unpair('web-01');
      return jsonAnswer(200, { scripts: [{ name: 'greet' }] });
    });
    const { hosts } = value(await discover(control.context));
    expect(hosts).toMatchObject([{ status: 'ok', scripts: [{ name: 'greet' }] }]);
    expect(value(await control.dispatcher.agents())).toEqual([]);

    await scriptedAgent(fleet, control, 'web-02', () => jsonAnswer(200, { scripts: [] }));
    const { registry } = control.context;
    const full = errorOf('store_failed', 'disk full', { operation: 'write', reason: 'SQLITE_FULL' });
    const context = withPorts(control, { registry: { ...registry, update: () => errAsync(full) } });
    expect(value(await discover(context)).hosts).toMatchObject([
      { host: 'web-02', status: 'error', error: 'disk full' },
    ]);
  });

  it('sorts the scripts and passes a sidecar on as it is', async () => {
    const schema = { description: 'x', arguments: { type: 'object' }, argv: [{ arg: 'n', flag: '--n' }] };
    await scriptedAgent(fleet, control, 'web-01', () =>
      jsonAnswer(200, {
        scripts: [
          { name: 'b', path: '/b', executable: 1, schema, schema_version: '2' },
          { name: 'a', path: '/a', executable: true, schema: [1], profile: 'default' },
          { name: 'C', path: '/c', executable: 0, schema: 'text' },
        ],
      }),
    );
    const [found] = value(await discover(control.context)).hosts;
    expect(found).toMatchObject({ status: 'ok', tags: {} });
    expect(found?.status === 'ok' && found.scripts).toEqual([
      { name: 'C', path: '/c', executable: false },
      { name: 'a', path: '/a', executable: true, profile: 'default' },
      { name: 'b', path: '/b', executable: true, schema, schema_version: '2' },
    ]);
  });

  it('is asked of the hook with every host that it would ask', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(200, { scripts: [] }));
    const hook = memoryAuthHook(() => ({ kind: 'exited', code: 1 }));
    const refused = await discover(withPorts(control, { hook }));
    expect(failure(refused).code).toBe('denied');
    expect(hook.asked).toMatchObject([{ action: 'discovery', hosts: ['web-01'], script: '', args: [] }]);
    expect(seen).toEqual([]);
  });

  it('asks at most max_parallel hosts at a time', async () => {
    const narrow = fleet.dispatcher('narrow.test', 'max_parallel = 2');
    await identify(narrow);
    let underWay = 0;
    let most = 0;
    for (const host of ['a1', 'a2', 'a3', 'a4', 'a5'])
      await scriptedAgent(fleet, narrow, host, async () => {
        underWay += 1;
        most = Math.max(most, underWay);
        await new Promise((resolve) => setImmediate(resolve));
        underWay -= 1;
        return jsonAnswer(200, { scripts: [] });
      });
    const { hosts } = value(await discover(narrow.context));
    expect(hosts.map(({ status }) => status)).toEqual(['ok', 'ok', 'ok', 'ok', 'ok']);
    expect(most).toBe(2);
  });
});
