import 'reflect-metadata';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { container } from 'tsyringe';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { agentFactories, dispatcherFactories } from '../../../src/apps/defaults.js';
import { type Factories, resolvePorts } from '../../../src/apps/wiring.js';
import type { AgentContext } from '../../../src/sdk/agent/context.js';
import type { DispatcherContext } from '../../../src/sdk/dispatcher/context.js';

/** What composition.ts gives to the sdk: the context of the agent, and how that of the dispatcher is resolved. */
const given = vi.hoisted(() => ({
  agent: undefined as unknown,
  resolve: undefined as unknown,
}));

vi.mock('../../../src/sdk/agent.js', async (original) => ({
  ...(await original<object>()),
  createAgent: (context: unknown) => {
    given.agent = context;
    return {};
  },
}));
vi.mock('../../../src/sdk/dispatcher.js', async (original) => ({
  ...(await original<object>()),
  createDispatcher: (open: () => unknown) => {
    open();
    return {};
  },
}));
vi.mock('../../../src/apps/defaults.js', async (original) => {
  const defaults = await original<typeof import('../../../src/apps/defaults.js')>();
  return {
    ...defaults,
    openDispatcherContext: (options: object, resolve: unknown) => {
      given.resolve = resolve;
      return defaults.openDispatcherContext(options, resolve as never);
    },
  };
});

const { composeAgent, composeDispatcher } = await import('../../../src/apps/composition.js');

type Resolve = <Context extends object>(factories: Factories<Context>) => Context;

const home = () => {
  const directory = mkdtempSync(join(tmpdir(), 'composition-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
};

const tsyringe = (): Resolve => {
  composeDispatcher({ home: home() });
  return given.resolve as Resolve;
};

const settings = async (): Promise<DispatcherContext['settings']> => {
  const { openDispatcherContext } = await import('../../../src/apps/defaults.js');
  const opened = (await openDispatcherContext({ home: home() }, resolvePorts))._unsafeUnwrap();
  return opened.context.settings;
};

/** The factories, each noting that it was called and with which context. */
const watched = <Context extends object>(factories: Factories<Context>) => {
  const calls: { name: string; context: unknown; made: unknown }[] = [];
  const entries = Object.entries(factories).map(([name, factory]) => [
    name,
    (context: unknown) => {
      const made = (factory as (context: unknown) => unknown)(context);
      calls.push({ name, context, made });
      return made;
    },
  ]);
  return { calls, factories: Object.fromEntries(entries) as Factories<Context> };
};

describe.each([
  ['tsyringe', tsyringe],
  ['resolvePorts', (): Resolve => resolvePorts],
])('a context made by %s', (_name, resolver) => {
  it('of a dispatcher has every port, each what its factory made, made at the first use and once', async () => {
    const { calls, factories } = watched(dispatcherFactories(await settings(), () => undefined));
    const context = resolver()<DispatcherContext>(factories);
    expect(calls).toEqual([]);
    expect(Object.keys(context)).toEqual(Object.keys(factories));
    for (const name of Object.keys(context) as (keyof DispatcherContext)[]) {
      const port = context[name];
      expect(context[name] === port).toBe(true);
      const made = calls.filter((call) => call.name === name);
      expect(made.length).toBe(1);
      expect(made[0]?.made === port).toBe(true);
      expect(made[0]?.context === context).toBe(true);
    }
    expect(calls.length).toBe(Object.keys(factories).length);
  });

  it('of an agent has every port, each what its factory made, made at the first use and once', () => {
    const { calls, factories } = watched(agentFactories({ home: home() }));
    const context = resolver()<AgentContext>(factories);
    expect(calls).toEqual([]);
    expect(Object.keys(context)).toEqual(Object.keys(factories));
    for (const name of Object.keys(context) as (keyof AgentContext)[])
      expect(context[name]).toBe(context[name]);
    expect(calls.map(({ name }) => name).sort()).toEqual(Object.keys(factories).sort());
    for (const { name, made } of calls) expect(context[name as keyof AgentContext]).toBe(made);
  });

  it('can be spread, and shares nothing with another one', () => {
    const resolve = resolver();
    const factories: Factories<{ a: object; b: object }> = { a: () => ({}), b: ({ a }) => ({ a }) };
    const [one, two] = [resolve(factories), resolve(factories)];
    expect({ ...one }).toEqual({ a: {}, b: { a: {} } });
    expect(one.a).not.toBe(two.a);
  });
});

describe('the two ways of composition', () => {
  it('give the same settings and the same kinds of ports', async () => {
    const options = { home: home() };
    const kinds = (context: object) =>
      Object.entries(context).map(([name, value]) => [
        name,
        typeof value === 'function' || typeof value !== 'object' ? typeof value : Object.keys(value).sort(),
      ]);
    composeAgent(options);
    const plain = resolvePorts<AgentContext>(agentFactories(options));
    expect(kinds(given.agent as AgentContext)).toEqual(kinds(plain));
    expect((given.agent as AgentContext).place).toEqual(plain.place);

    const read = await settings();
    const factories = () => dispatcherFactories(read, () => undefined);
    expect(kinds(tsyringe()<DispatcherContext>(factories()))).toEqual(
      kinds(resolvePorts<DispatcherContext>(factories())),
    );
  });

  it('leave the global container of tsyringe as it was', async () => {
    const context = tsyringe()<DispatcherContext>(dispatcherFactories(await settings(), () => undefined));
    for (const name of Object.keys(context)) expect(container.isRegistered(name)).toBe(false);
  });
});
