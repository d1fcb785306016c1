import { okAsync, type Result } from 'neverthrow';
import { actionRunner } from '../../../adapters/in-process/runner.js';
import { memoryJobs } from '../../../adapters/memory/jobs.js';
import { parseConfiguration } from '../../../domain/core/configuration.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { Actions } from '../../../domain/runs/action.js';
import { dispatcherSettings } from '../../../domain/settings/dispatcher.js';
import type { Clock } from '../../../ports/clock.js';
import { createAgent } from '../../../sdk/agent/agent.js';
import { createDispatcher, type Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { version } from '../../version.js';
import { controlHost, type MemoryPorts, memoryWorld } from './ports.js';

/** An agent of a fleet in memory. */
export interface MemoryAgent {
  /** What dispatchers may run on it, by name. Default: nothing. */
  readonly actions?: Actions | undefined;
  /** Its tags, which the registry knows from the start. Default: none. */
  readonly tags?: Readonly<Record<string, string>> | undefined;
  /** Whether it can be reached. Default: true. */
  readonly online?: boolean | undefined;
}

/** Who is in a fleet, and what time it is there. */
export interface MemoryFleetOptions {
  /** By name. */
  readonly agents: Readonly<Record<string, MemoryAgent>>;
  /** Default: the system's. */
  readonly clock?: Clock | undefined;
}

/** A dispatcher with agents that it has paired with. `close` ends all of them. */
export interface MemoryFleet extends Dispatcher {
  /** The ports of its dispatcher: `events.events` and `hook.asked` are what it told and what it asked. */
  readonly ports: MemoryPorts['dispatcher'];
  /** Takes an agent off the network, or back: new connections are refused. */
  setOnline(name: string, online: boolean): void;
}

/** Nothing that is expected goes wrong here. */
function must<T>(result: Result<T, CtrlExecError>): T {
  if (result.isErr()) throw new Error(`${result.error.code}: ${result.error.message}`);
  return result.value;
}

const tagLines = (tags: Readonly<Record<string, string>>): string =>
  ['[tags]', ...Object.entries(tags).map(([name, value]) => `${name} = ${value}`), ''].join('\n');

/**
 * The real dispatcher and real agents, paired, over ports in memory: no file, no socket, no test runner.
 * @example
 * await using fleet = await memoryFleet({ agents: { web: { actions: { hello: () => 'hello' } } } });
 * const outcome = await fleet.run({ hosts: ['web'], script: 'hello' });
 */
export async function memoryFleet(options: MemoryFleetOptions): Promise<MemoryFleet> {
  const world = memoryWorld(options);
  const ports = world.dispatcher();
  const home = '/memory/control';
  const place = { home, stateDir: `${home}/state`, hostName: 'control', fileTrust: 'strict' as const };
  const file = `${home}/ctrl-exec.conf`;
  const { settings } = must(
    parseConfiguration('', file).andThen((parsed) => dispatcherSettings(parsed, { ...place, file })),
  );
  const dispatcher = createDispatcher(() =>
    okAsync({
      context: { ...ports, settings, principal: 'os:memory', configurationFile: file },
      warnings: [],
      close: async () => undefined,
    }),
  );
  must(await dispatcher.setupCa());
  must(await dispatcher.setup());

  const agents = Object.entries(options.agents);
  const mode = must(await dispatcher.openPairing({ bind: controlHost }));
  const closers = await Promise.all(
    agents.map(async ([name, given], index) => {
      const agent = memoryAgent(world, name, `198.51.100.${1 + (index % 250)}`, given);
      const { token } = must(await dispatcher.issueJoinToken({ host: name }));
      const trust = { kind: 'join', token } as const;
      must(await agent.pair({ dispatcher: controlHost, port: mode.port, hostName: name, trust }));
      const serving = must(await agent.serve({ bind: name }));
      return async () => {
        await serving.close(0);
        await agent.close();
      };
    }),
  );
  await mode.close();
  if (agents.length > 0) must(await dispatcher.discover({ hosts: agents.map(([name]) => name) }));
  for (const [name, { online = true }] of agents) world.network.setOnline(name, online);

  const close = async () => {
    await dispatcher.close();
    await Promise.all(closers.map((each) => each()));
  };
  return { ...dispatcher, ports, setOnline: world.network.setOnline, close, [Symbol.asyncDispose]: close };
}

function memoryAgent(
  world: ReturnType<typeof memoryWorld>,
  name: string,
  address: string,
  { actions = {}, tags = {} }: MemoryAgent,
) {
  const home = `/memory/${name}`;
  const configurationFile = `${home}/agent.conf`;
  const ports = world.agent(name, address, {
    [configurationFile]: tagLines(tags),
    [`${home}/scripts.conf`]: '',
  });
  const functions = { ...actions };
  const runner = actionRunner({ actions: functions, events: ports.events });
  const jobs = memoryJobs({ runner, now: ports.clock.now });
  return createAgent({
    ...ports,
    actions: { functions, runner, jobs: () => jobs },
    environment: {},
    hostName: name,
    place: {
      home,
      stateDir: `${home}/state`,
      configurationFile,
      configurationRequired: false,
      fileTrust: 'strict',
    },
    version,
  });
}
