import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import { ping as pingCommand } from '../../../../../src/apps/cli/commands/ping.js';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { opensslTime } from '../../../../../src/domain/trust/certificate.js';
import { ping } from '../../../../../src/sdk/dispatcher/fleet/ping.js';
import { failure, value } from '../../../../contract/result.js';
import { holdLock } from '../../../../support/fleet/begun-runs.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import { type Answering, enrol, scriptedAgent, withPorts } from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  identify,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { printed } from '../../../apps/cli/printed.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
});

const alive: Answering = ({ body }) =>
  jsonAnswer(200, { status: 'ok', host: 'web-01', version: '1', expiry: 'x', reqid: body['reqid'] });

describe('ping', () => {
  it('reports version and expiry of a real agent, and how it names itself', async () => {
    const agent = fleet.agent('vm-7a3f');
    const { certificate } = await enrol(control, agent, 'web-01');
    const endpoint = { host: 'vm-7a3f', ip: '192.0.2.77', port: 7443, lookupBy: 'hostname' } as const;
    value(await control.context.registry.update('web-01', { endpoint }));
    value(await agent.agent.serve());
    const { reqid, results } = value(await ping(control.context, { hosts: ['web-01'] }));
    expect(reqid).toMatch(/^[0-9a-f]{16}$/);
    expect(results).toEqual([
      {
        host: 'web-01',
        status: 'ok',
        rtt: 0,
        version: '1.2.3',
        expiry: opensslTime(certificate.notAfter),
        reportedHostname: 'vm-7a3f',
      },
    ]);
  });

  it('says nothing of a name that does not differ', async () => {
    await scriptedAgent(fleet, control, 'web-01', alive);
    const { results } = value(await ping(control.context, { hosts: ['web-01'] }));
    expect(results[0]).not.toHaveProperty('reportedHostname');
  });

  it('shows what is wrong on the host, in the words of the agent, to people and to programs', async () => {
    const problems = ['revoked_serials: line 2 is not understood'];
    await scriptedAgent(fleet, control, 'web-01', ({ body }) =>
      jsonAnswer(200, {
        status: 'ok',
        host: 'web-01',
        version: '1',
        expiry: 'x',
        reqid: body['reqid'],
        problems,
      }),
    );
    const { results } = value(await ping(control.context, { hosts: ['web-01'] }));
    expect(results).toMatchObject([{ status: 'ok', problems }]);
    const said = await printed(() => pingCommand(control.dispatcher, ['web-01'], {}));
    expect(said).toMatchObject({
      value: 0,
      stdout: expect.stringMatching(/ ERROR\n.*\nweb-01 +ok .* line 2 is not understood\n$/),
    });
    const json = await printed(() => pingCommand(control.dispatcher, ['web-01'], { json: true }));
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: 1, results: [{ problems }] });
  });

  it('sends its reqid, and takes no lock: a running script is not in its way', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', alive);
    await holdLock(control, 'web-01', 'x');
    const { reqid } = value(await ping(control.context, { hosts: ['web-01'] }));
    expect(seen).toMatchObject([{ method: 'POST', path: '/ping', body: { reqid } }]);
  });

  it('keeps the order of the request and reports a failing host inline', async () => {
    await scriptedAgent(fleet, control, 'web-01', alive);
    await scriptedAgent(fleet, control, 'web-02', () => jsonAnswer(200, { status: 'error' }));
    const { results } = value(await ping(control.context, { hosts: ['web-02', 'nowhere.test', 'web-01'] }));
    expect(results).toMatchObject([
      { host: 'web-02', status: 'error', error: expect.stringContaining('"status"'), rtt: 0 },
      { host: 'nowhere.test', status: 'error', error: expect.stringContaining('nowhere.test') },
      { host: 'web-01', status: 'ok' },
    ]);
    const logged = eventsOf(control.events, 'ping');
    expect(logged.map(({ level, fields }) => [fields.host, level]).sort()).toEqual([
      ['nowhere.test', 'warning'],
      ['web-01', 'info'],
      ['web-02', 'warning'],
    ]);
  });

  it('is asked of the hook as what it is, and a no reaches no agent', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', alive);
    const hook = memoryAuthHook(() => ({ kind: 'exited', code: 3 }));
    const refused = await ping(withPorts(control, { hook }), {
      hosts: ['web-01'],
      caller: { username: 'alice', token: 't' },
    });
    expect(failure(refused)).toMatchObject({ code: 'denied', reason: 'insufficient privilege' });
    expect(hook.asked).toMatchObject([
      { action: 'ping', script: '', hosts: ['web-01'], args: [], username: 'alice', token: 't' },
    ]);
    expect(seen).toEqual([]);
  });

  it('asks at most max_parallel hosts at a time', async () => {
    const narrow = fleet.dispatcher('narrow.test', 'max_parallel = 2');
    await identify(narrow);
    let underWay = 0;
    let most = 0;
    const hosts = ['a1', 'a2', 'a3', 'a4', 'a5'];
    for (const host of hosts)
      await scriptedAgent(fleet, narrow, host, async (request) => {
        underWay += 1;
        most = Math.max(most, underWay);
        await new Promise((resolve) => setImmediate(resolve));
        underWay -= 1;
        return alive(request);
      });
    value(await ping(narrow.context, { hosts }));
    expect(most).toBe(2);
  });

  it('that is aborted ends with an error for each host', async () => {
    await scriptedAgent(fleet, control, 'web-01', () => new Promise(() => undefined));
    const stop = new AbortController();
    stop.abort();
    const { results } = value(await ping(control.context, { hosts: ['web-01'], signal: stop.signal }));
    expect(results).toMatchObject([{ status: 'error' }]);
  });

  it('takes an answer of 64 KiB and none above', async () => {
    const ofSize = (name: string, size: number) =>
      scriptedAgent(fleet, control, name, () => {
        const empty = jsonAnswer(200, { status: 'ok', filler: '' }).body.length;
        return jsonAnswer(200, { status: 'ok', filler: 'x'.repeat(size - empty) });
      });
    await ofSize('web-01', 65_536);
    await ofSize('web-02', 65_537);
    const { results } = value(await ping(control.context, { hosts: ['web-01', 'web-02'] }));
    expect(results).toMatchObject([
      { host: 'web-01', status: 'ok' },
      { host: 'web-02', status: 'error', error: expect.stringContaining('65536') },
    ]);
  });
});

describe('the registry', () => {
  const down = errorOf('store_failed', 'no store', { operation: 'open', reason: 'EACCES' });
  const hosts = (count: number) => Array.from({ length: count }, (_, index) => `web-${index}`);
  const failing = (call: 'find' | 'list') => {
    const { registry } = control.context;
    return withPorts(control, { registry: { ...registry, [call]: () => errAsync(down) } });
  };

  it('is asked for each of a few hosts, and is not read as a whole', async () => {
    await scriptedAgent(fleet, control, 'web-01', alive);
    const { results } = value(await ping(failing('list'), { hosts: ['WEB-01'] }));
    expect(results).toMatchObject([{ host: 'web-01', status: 'ok' }]);
    expect((await ping(failing('list'), { hosts: hosts(31) })).isOk()).toBe(true);
  });

  it('is read once for many hosts', async () => {
    await scriptedAgent(fleet, control, 'web-01', alive);
    const asked = [...hosts(31), 'WEB-01'].filter((host) => host !== 'web-1');
    const { results } = value(await ping(failing('find'), { hosts: [...asked, 'web-31'] }));
    expect(results).toContainEqual(expect.objectContaining({ host: 'web-01', status: 'ok' }));
    expect(results).toHaveLength(32);
  });

  it.each([
    [1, 'find'],
    [31, 'find'],
    [32, 'list'],
  ] as const)('that cannot be read is an error as a whole: %i hosts, by %s', async (count, call) => {
    expect(failure(await ping(failing(call), { hosts: hosts(count) }))).toEqual(down);
  });
});

it.each([
  ['', 10_000],
  ['connect_timeout = 3\n', 3_000],
])('an agent has as long to be connected as %j says: %i ms', async (configuration, expected) => {
  const { control } = await identifiedFleet(configuration);
  const waited: number[] = [];
  const { channel } = control.context;
  const context = withPorts(control, {
    channel: {
      ...channel,
      connect: (target, options) => {
        waited.push(options.timeout);
        return channel.connect(target, options);
      },
    },
  });
  value(await ping(context, { hosts: ['192.0.2.9:7443'] }));
  expect(waited).toEqual([expected]);
});
