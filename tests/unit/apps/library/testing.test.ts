import { describe, expect, it } from 'vitest';
import { type Agent, openAgent } from '../../../../src/apps/library/agent.js';
import { type Dispatcher, openDispatcher } from '../../../../src/apps/library/index.js';
import { manualClock, memoryFleet, memoryPorts } from '../../../../src/apps/library/testing.js';
import { value } from '../../../contract/result.js';

describe('memoryFleet', () => {
  const agents = {
    web: {
      actions: { hello: ({ args }: { args: readonly string[] }) => `hello ${args[0]}` },
      tags: { env: 'prod' },
    },
    db: { actions: { hello: () => 'from db' }, tags: { env: 'test' }, online: false },
  };

  it('runs and submits actions of agents that are paired with a dispatcher', async () => {
    await using fleet = await memoryFleet({ agents });
    const hosts = value(await fleet.agents({ env: 'prod' })).map(({ name }) => name);
    const run = value(await fleet.run({ hosts, script: 'hello', args: ['world'] }));
    expect(run.results).toMatchObject([{ host: 'web', state: 'succeeded', stdout: 'hello world' }]);
    const { reqid } = value(await fleet.submit({ hosts: ['web'], script: 'hello', args: ['again'] }));
    const { status } = value(await fleet.wait(reqid));
    expect(status.results).toMatchObject([{ host: 'web', state: 'succeeded', stdout: 'hello again' }]);
    expect(fleet.ports.events.events.map(({ action }) => action)).toContain('run-result');
    expect(fleet.ports.hook.asked.map(({ action }) => action)).toContain('run');
  });

  it('takes agents off the network and back', async () => {
    await using fleet = await memoryFleet({ agents });
    const states = async () =>
      value(await fleet.run({ hosts: ['web', 'db'], script: 'hello', args: ['x'] })).results.map(
        ({ host, state }) => `${host} ${state}`,
      );
    expect(await states()).toEqual(['web succeeded', 'db unreachable']);
    fleet.setOnline('web', false);
    fleet.setOnline('db', true);
    expect(await states()).toEqual(['web unreachable', 'db succeeded']);
  });

  it('goes by the clock that it is given', async () => {
    const clock = manualClock(new Date('2030-01-01T00:00:00Z'));
    await using fleet = await memoryFleet({ agents: { web: agents.web }, clock });
    value(await fleet.run({ hosts: ['web'], script: 'hello', args: ['x'] }));
    const { runs } = value(await fleet.runs());
    expect(runs.map(({ startedAt }) => startedAt)).toEqual([Date.UTC(2030, 0, 1)]);
  });
});

const pair = async (fleet: Dispatcher, agent: Agent, port: number, options: { agentPort?: number } = {}) => {
  const { token } = value(await fleet.issueJoinToken({ host: 'agent.test' }));
  const trust = { kind: 'join', token } as const;
  value(await agent.pair({ dispatcher: 'control.test', port, hostName: 'agent.test', trust, ...options }));
};

describe('memoryPorts', () => {
  it('connect a dispatcher and an agent that a program opens, and write no file', async () => {
    const ports = memoryPorts();
    await using fleet = await openDispatcher({ home: '/nowhere/control', ports: ports.dispatcher });
    const actions = { greet: () => 'hi' };
    await using agent = await openAgent({ home: '/nowhere/agent', ports: ports.agent, actions });
    value(await fleet.setupCa());
    value(await fleet.setup());
    await using mode = value(await fleet.openPairing());
    await pair(fleet, agent, mode.port);
    await using _serving = value(await agent.serve());
    const { reqid } = value(await fleet.submit({ hosts: ['agent.test'], script: 'greet' }));
    expect(value(await fleet.wait(reqid)).status.results).toMatchObject([
      { state: 'succeeded', stdout: 'hi' },
    ]);
  });

  it('a dispatcher learns the port that the system chose', async () => {
    const ports = memoryPorts();
    await using fleet = await openDispatcher({ home: '/nowhere/control', ports: ports.dispatcher });
    const actions = { greet: () => 'hi' };
    await using agent = await openAgent({ home: '/nowhere/agent', ports: ports.agent, actions });
    value(await fleet.setupCa());
    value(await fleet.setup());
    await using mode = value(await fleet.openPairing());
    const registered = async () => value(await fleet.agent('agent.test')).endpoint.port;
    await pair(fleet, agent, mode.port, { agentPort: 0 });
    const first = value(await agent.serve({ port: 0 }));
    expect(await registered()).toBe(first.port);
    const { results } = value(await fleet.run({ hosts: ['agent.test'], script: 'greet' }));
    expect(results).toMatchObject([{ state: 'succeeded' }]);
    await first.close(0);
    // The same after a restart; another one, once it was served, is what the next pairing registers.
    const again = value(await agent.serve({ port: 0 }));
    expect(again.port).toBe(first.port);
    await again.close(0);
    await using other = value(await agent.serve({ port: 50_001 }));
    value(await fleet.unpair('agent.test'));
    await pair(fleet, agent, mode.port);
    expect(await registered()).toBe(other.port);
    // Where that is taken, another one is chosen, and said.
    const told: unknown[] = [];
    const events = { emit: (event: { fields: { reason?: unknown } }) => told.push(event.fields.reason) };
    await using second = await openAgent({
      home: '/nowhere/agent',
      ports: { ...ports.agent, events } as never,
    });
    await using elsewhere = value(await second.serve({ port: 0 }));
    expect(told).toContainEqual(
      expect.stringMatching(
        `^port 50001, which dispatchers know, is not free .* served on ${elsewhere.port}, so tell them with edit-agent --agent-port$`,
      ),
    );
    // Where somebody has written another port into the configuration since, that is meant.
    value(await ports.agent.files.replace('/nowhere/agent/agent.conf', 'port = 50002\n', 0o644));
    value(await fleet.unpair('agent.test'));
    await pair(fleet, agent, mode.port);
    expect(await registered()).toBe(50_002);
  });
});
