import 'reflect-metadata';
import { container, instanceCachingFactory } from 'tsyringe';
import type { EventLog } from '../ports/event-log.js';
import type { AgentContext } from '../sdk/agent/context.js';
import { type Agent, createAgent } from '../sdk/agent.js';
import { createDispatcher, type Dispatcher } from '../sdk/dispatcher.js';
import { agentFactories, openDispatcherContext } from './defaults.js';
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

/** The dispatcher of the commands. */
export const composeDispatcher = (options: PlaceOptions & { readonly events?: EventLog }): Dispatcher =>
  createDispatcher(() => openDispatcherContext(options, compose));

/** The agent of the commands. */
export const composeAgent = (options: PlaceOptions & { readonly events?: EventLog }): Agent =>
  createAgent(compose<AgentContext>(agentFactories(options, options.events)));
