import 'reflect-metadata';
import { container, instanceCachingFactory } from 'tsyringe';
import type { PullOptions } from '../domain/settings/pull.js';
import type { Clock } from '../ports/clock.js';
import type { EventLog } from '../ports/event-log.js';
import { type Agent, createAgent } from '../sdk/agent/agent.js';
import type { AgentContext } from '../sdk/agent/context.js';
import type { PullContext } from '../sdk/deploy/pull/context.js';
import type { PullAgent } from '../sdk/deploy/pull-agent.js';
import type { DispatcherContext } from '../sdk/dispatcher/context.js';
import { createDispatcher, type Dispatcher } from '../sdk/dispatcher/dispatcher.js';
import {
  agentFactories,
  loadAgentSettings,
  loadDispatcherSettings,
  openDispatcherContext,
  systemClock,
} from './defaults.js';
import { type OpenedEventLog, openDaemonLog, openEventLog } from './event-log.js';
import type { PlaceOptions } from './place.js';
import type { Factories } from './wiring.js';

/**
 * A context whose members are resolved from a child container. The global container belongs to @peculiar/x509 as well:
 * it is never reset.
 */
function compose<Context extends object>(factories: Factories<Context>): Context {
  const child = container.createChildContainer();
  const context: Context = Object.create(null);
  for (const name of Object.keys(factories) as (keyof Context & string)[]) {
    child.register(name, { useFactory: instanceCachingFactory(() => factories[name](context)) });
    Object.defineProperty(context, name, { enumerable: true, get: () => child.resolve(name) });
  }
  return context;
}

/** The pull agent of the commands, which logs where the agent's configuration says; its adapters are loaded now. */
export async function composePullAgent(
  place: PlaceOptions,
  options: PullOptions,
): Promise<{ readonly agent: PullAgent; close(): Promise<void> }> {
  const [{ pullFactories }, { createPullAgent }] = await Promise.all([
    import('./pull-defaults.js'),
    import('../sdk/deploy/pull-agent.js'),
  ]);
  const configured = await loadAgentSettings(place);
  const setting = configured.map(({ settings }) => settings.eventLog).unwrapOr({ kind: 'auto' } as const);
  const log = openDaemonLog(setting, 'ctrl-exec-agent');
  const agent = createPullAgent(compose<PullContext>(pullFactories(place, options, log)));
  return { agent, close: () => log.close() };
}

type CommandOptions = PlaceOptions & {
  /** Whether the command serves until it is stopped, without anybody in front of it. */
  readonly daemon: boolean;
};

/** The dispatcher of the commands, which logs where its configuration says. */
export const composeDispatcher = ({ daemon, ...place }: CommandOptions): Dispatcher =>
  createDispatcher(() => {
    let log: OpenedEventLog | undefined;
    const events = ({ settings }: DispatcherContext): EventLog => {
      log = openEventLog(settings.eventLog, { program: 'ctrl-exec', daemon });
      return log;
    };
    return openDispatcherContext(place, (factories) => compose({ ...factories, events })).map((opened) => ({
      ...opened,
      close: async () => {
        await opened.close();
        await log?.close();
      },
    }));
  });

/** What the API is made of: dispatchers, one after the other as the configuration is read again, that share a log. */
export interface ApiParts {
  readonly events: EventLog;
  readonly clock: Clock;
  /** A dispatcher over the configuration as it is from now on. */
  open(): Dispatcher;
  /** Closes the log. */
  close(): Promise<void>;
}

/** The parts of `ctrl-exec-api`. A reload does not move the log. @param around is put between dispatchers and the log */
export async function composeApi(
  place: PlaceOptions,
  around: (log: EventLog) => EventLog,
): Promise<ApiParts> {
  const configured = await loadDispatcherSettings(place);
  // What is wrong with the configuration is said by the command.
  const setting = configured.map(({ settings }) => settings.eventLog).unwrapOr({ kind: 'auto' } as const);
  const log = openDaemonLog(setting, 'ctrl-exec-api');
  const events = around(log);
  const open = () => createDispatcher(() => openDispatcherContext({ ...place, events }, compose));
  return { events, clock: systemClock(), open, close: () => log.close() };
}

/** The agent of the commands, which logs where its configuration says; a reload does not move the log. */
export async function composeAgent({ daemon, ...place }: CommandOptions): Promise<Agent> {
  const configured = await loadAgentSettings(place);
  // What is wrong with the configuration is said by the command.
  const setting = configured.map(({ settings }) => settings.eventLog).unwrapOr({ kind: 'auto' } as const);
  const log = daemon
    ? openDaemonLog(setting, 'ctrl-exec-agent')
    : openEventLog(setting, { program: 'ctrl-exec-agent', daemon });
  const agent = createAgent(compose<AgentContext>(agentFactories(place, log)));
  const close = async () => {
    await agent.close();
    await log.close();
  };
  return { ...agent, close, [Symbol.asyncDispose]: close };
}
