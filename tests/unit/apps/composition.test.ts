import { value } from '../../contract/result.js';
import 'reflect-metadata';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { container } from 'tsyringe';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { agentFactories, openDispatcherContext } from '../../../src/apps/defaults.js';
import type { PlaceOptions } from '../../../src/apps/place.js';
import { type Factories, resolvePorts } from '../../../src/apps/wiring.js';
import type { AgentContext } from '../../../src/sdk/agent/context.js';
import type { DispatcherContext } from '../../../src/sdk/dispatcher/context.js';

/** What composition.ts gives to the sdk: the context of the agent, and how that of the dispatcher is resolved. */
const given = vi.hoisted(() => ({
  agent: undefined as unknown,
  resolve: undefined as unknown,
}));

vi.mock('../../../src/sdk/agent/agent.js', async (original) => ({
  ...(await original<object>()),
  createAgent: (context: unknown) => {
    given.agent = context;
    return {};
  },
}));
vi.mock('../../../src/sdk/dispatcher/dispatcher.js', async (original) => ({
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
    openDispatcherContext: (options: PlaceOptions, resolve: unknown) => {
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
  composeDispatcher({ home: home(), daemon: false });
  return given.resolve as Resolve;
};

/** The factories of a dispatcher whose home is this directory. */
const dispatcherFactories = async (directory = home()): Promise<Factories<DispatcherContext>> => {
  let factories: Factories<DispatcherContext> | undefined;
  const opened = await openDispatcherContext({ home: directory }, (theirs) => {
    factories = theirs;
    return resolvePorts(theirs);
  });
  value(opened);
  if (!factories) throw new Error('nothing was resolved');
  return factories;
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

/** What the commands put in place of the factory: they log where the configuration says. */
const events = ['events'];

describe.each([
  ['tsyringe', tsyringe, events],
  ['resolvePorts', (): Resolve => resolvePorts, []],
])('a context made by %s', (_name, resolver, instead) => {
  it('of a dispatcher has every port, each what its factory made, made at the first use and once', async () => {
    const { calls, factories } = watched(await dispatcherFactories());
    const context = resolver()<DispatcherContext>(factories);
    expect(calls).toEqual([]);
    expect(Object.keys(context)).toEqual(Object.keys(factories));
    expect(Object.keys(context)).toContain('joinTokens');
    for (const name of Object.keys(context) as (keyof DispatcherContext)[]) {
      const port = context[name];
      expect(context[name] === port).toBe(true);
      const made = calls.filter((call) => call.name === name);
      expect(made.length).toBe(instead.includes(name) ? 0 : 1);
      expect(made[0]?.made === port).toBe(made.length === 1);
      expect(made[0]?.context === context).toBe(made.length === 1);
    }
    expect(calls.length).toBe(Object.keys(factories).length - instead.length);
  });

  it('of an agent has every port, each what its factory made, made at the first use and once', () => {
    const { calls, factories } = watched(agentFactories({ home: home() }));
    const context = resolver()<AgentContext>(factories);
    expect(calls).toEqual([]);
    expect(Object.keys(context)).toEqual(Object.keys(factories));
    const names = (Object.keys(context) as (keyof AgentContext)[]).filter((name) => !instead.includes(name));
    for (const name of names) expect(context[name]).toBe(context[name]);
    expect([...calls.map(({ name }) => name), ...instead].sort()).toEqual(Object.keys(factories).sort());
    for (const { name, made } of calls) expect(context[name as keyof AgentContext]).toBe(made);
  });

  it('can be spread, and shares nothing with another one', () => {
    const resolve = resolver();
    const settings = { eventLog: { kind: 'none' } };
    const factories: Factories<{ a: object; b: object; settings: object }> = {
      a: () => ({}),
      b: ({ a }) => ({ a }),
      settings: () => settings,
    };
    const [one, two] = [resolve(factories), resolve(factories)];
    expect({ ...one }).toMatchObject({ a: {}, b: { a: {} }, settings });
    expect(one.a).not.toBe(two.a);
  });
});

describe('the two ways of composition', () => {
  it('give the same settings and the same kinds of ports', async () => {
    const options = { home: home() };
    const kinds = (context: object) =>
      Object.entries(context)
        .filter(([name]) => !events.includes(name))
        .map(([name, value]) => [
          name,
          typeof value === 'function' || typeof value !== 'object' ? typeof value : Object.keys(value).sort(),
        ]);
    await composeAgent({ ...options, daemon: false });
    const plain = resolvePorts<AgentContext>(agentFactories(options));
    expect(kinds(given.agent as AgentContext)).toEqual(kinds(plain));
    expect((given.agent as AgentContext).place).toEqual(plain.place);

    const factories = await dispatcherFactories();
    expect(kinds(tsyringe()<DispatcherContext>(factories))).toEqual(
      kinds(resolvePorts<DispatcherContext>(factories)),
    );
  });

  it('differ in the log: commands write it where event_log says, the library hands it to its caller', async () => {
    const line = (path: string) => JSON.parse(readFileSync(path, 'utf8'));
    const event = { action: 'unpaired', fields: { host: 'web-01' } } as const;
    const [control, managed] = [home(), home()];

    const of = (directory: string) => join(directory, 'events.json');
    writeFileSync(join(control, 'ctrl-exec.conf'), `event_log = json:${of(control)}\n`);
    tsyringe()<DispatcherContext>(await dispatcherFactories(control)).events.emit(event);
    expect(line(of(control))).toMatchObject({ action: 'unpaired', host: 'web-01' });

    writeFileSync(join(managed, 'agent.conf'), `event_log = json:${of(managed)}\n`);
    await composeAgent({ home: managed, daemon: true });
    (given.agent as AgentContext).events.emit({ action: 'stopped', fields: { port: 1 } });
    expect(line(of(managed))).toMatchObject({ action: 'stopped', port: 1 });

    const log = { emit: vi.fn() };
    const opened = await openDispatcherContext({ home: control, events: log }, resolvePorts);
    value(opened).context.events.emit(event);
    expect(log.emit).toHaveBeenCalledExactlyOnceWith(event);
    expect(agentFactories({ home: managed }, log).events({} as AgentContext)).toBe(log);
  });

  it('leave the global container of tsyringe as it was', async () => {
    const context = tsyringe()<DispatcherContext>(await dispatcherFactories());
    for (const name of Object.keys(context)) expect(container.isRegistered(name)).toBe(false);
  });
});
