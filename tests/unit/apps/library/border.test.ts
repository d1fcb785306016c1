import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openAgent, openPullAgent } from '../../../../src/apps/library/agent.js';
import { clientCalls } from '../../../../src/apps/library/client/calls.js';
import { createApiClient } from '../../../../src/apps/library/client.js';
import { openDispatcher } from '../../../../src/apps/library/index.js';
import { memoryFleet } from '../../../../src/apps/library/testing.js';
import type { Reading } from '../../../../src/domain/core/border.js';
import { agentCalls } from '../../../../src/sdk/agent/calls.js';
import { pullCalls } from '../../../../src/sdk/deploy/pull-agent.js';
import { dispatcherCalls } from '../../../../src/sdk/dispatcher/calls.js';
import { failure, value } from '../../../contract/result.js';

const home = mkdtempSync(join(tmpdir(), 'border-'));
afterAll(() => rmSync(home, { recursive: true, force: true }));

type Methods = Readonly<Record<string, (...given: unknown[]) => unknown>>;

const junk = [
  undefined,
  null,
  1,
  -1,
  Number.NaN,
  'x',
  '',
  [],
  [1],
  {},
  { unknownMember: 1 },
  () => 1,
  Symbol('s'),
  '\ud800',
];

/** What fits a kind, as far as the border sees. */
function fitting({ form, members }: Reading): unknown {
  if (members)
    return Object.fromEntries(
      Object.entries(members)
        .filter(([, { optional }]) => !optional)
        .map(([name, member]) => [name, fitting(member)]),
    );
  if (form.startsWith('a list')) return ['nobody'];
  if (form === 'a number' || form.startsWith('a port')) return 1;
  if (form === 'a function') return () => undefined;
  if (form.includes('kind')) return { kind: 'first-use' };
  return /^"([^"]*)"/.exec(form)?.[1] ?? (form.startsWith('true') ? true : 'nothing');
}

/** Every call with each argument replaced by junk, and each member of each argument. */
function* junkCalls(args: readonly { readonly kind: Reading }[]): Generator<unknown[]> {
  const good = args.map(({ kind }) => fitting(kind));
  yield [];
  for (const [index, { kind }] of args.entries())
    for (const bad of junk) {
      yield good.with(index, bad);
      for (const name of Object.keys(kind.members ?? {}))
        yield good.with(index, { ...(good[index] as object), [name]: bad });
    }
}

/** The codes that a call answered with; a throw or a rejection is the test's. */
async function codesOf(methods: Methods, name: string, args: unknown[]): Promise<string> {
  const answer = methods[name]?.(...args) as {
    outcome?: PromiseLike<unknown>;
    [Symbol.asyncIterator]?: () => AsyncIterator<{ event?: string; error?: { code: string } }>;
  };
  if (answer[Symbol.asyncIterator] && !answer.outcome) {
    let last = 'nothing';
    for await (const event of answer as AsyncIterable<{ error?: { code: string } }>)
      last = event.error?.code ?? last;
    return last;
  }
  const result = (await (answer.outcome ?? answer)) as { isErr(): boolean; error: { code: string } };
  return result.isErr() ? result.error.code : 'ok';
}

/** No answer to junk is a bug of ours, and what the border knows to be wrong is `invalid_argument`. */
async function expectHonest(
  methods: Methods,
  calls: Readonly<Record<string, readonly { readonly name: string; readonly kind: Reading }[]>>,
) {
  let refused = 0;
  for (const [name, args] of Object.entries(calls))
    for (const given of junkCalls(args)) {
      const wrong = args.some(({ kind }, index) => {
        const value = given[index];
        return !(value === undefined && kind.optional) && kind.read(value, '').wrong !== undefined;
      });
      if (!wrong && /^(serve|openPairing|pair|run|setup|rotate|rotateCa|importState)$/.test(name)) continue;
      const code = await codesOf(methods, name, given);
      expect(typeof code, name).toBe('string');
      if (!wrong) continue;
      refused += 1;
      expect({ name, given, code }).toEqual({ name, given, code: 'invalid_argument' });
    }
  return refused;
}

describe('no method of an entry throws or takes a default for what it was given wrongly', () => {
  it('a dispatcher', async () => {
    await using fleet = await memoryFleet({ agents: {} });
    expect(await expectHonest(fleet as unknown as Methods, dispatcherCalls)).toBeGreaterThan(1000);
  });

  it('an agent', async () => {
    await using agent = await openAgent({ home });
    expect(await expectHonest(agent as unknown as Methods, agentCalls)).toBeGreaterThan(200);
  });

  it('a pull agent', async () => {
    const agent = await openPullAgent({ home });
    expect(await expectHonest(agent as unknown as Methods, pullCalls)).toBeGreaterThan(20);
  });

  it('a client', async () => {
    await using client = createApiClient({ url: 'http://127.0.0.1:1', retries: 0 });
    expect(await expectHonest(client as unknown as Methods, clientCalls)).toBeGreaterThan(200);
  });
});

describe('options that are wrong are the error of each call', () => {
  const wrong: readonly [unknown, string][] = [
    [undefined, 'options: expected an object'],
    [null, 'options: expected an object'],
    ['./fleet', 'options: expected an object'],
    [{}, 'home: is missing; expected exactly one of home (a directory) and system: true'],
    [{ system: false }, 'home: is missing; expected exactly one of home (a directory) and system: true'],
    [
      { home: '/x', system: true },
      'system: there is home, too; expected exactly one of home (a directory) and system: true',
    ],
    [{ hom: 'x' }, 'hom: there is no such member; did you mean home?'],
    [{ home: '' }, 'home: expected text that is not empty'],
    [{ home: 1 }, 'home: expected text that is not empty'],
    [{ home: '/x', events: {} }, 'events: expected an object with emit'],
    [{ home: '/x', ports: { clocks: {} } }, 'ports.clocks: there is no such member; did you mean clock?'],
    [
      { home: '/x', ports: { clock: { now: 1 } } },
      'ports.clock: expected an object with now, monotonic, after',
    ],
  ];

  it.each(wrong)('openDispatcher, openAgent and openPullAgent of %j', async (options, message) => {
    const dispatcher = await openDispatcher(options as never);
    expect(failure(await dispatcher.ca())).toMatchObject({ code: 'invalid_argument', message });
    expect(failure(await dispatcher.run({ hosts: ['a'], script: 'b' })).message).toBe(message);
    await dispatcher.close();
    const agent = await openAgent(options as never);
    expect(failure(await agent.serve())).toMatchObject({ code: 'invalid_argument', message });
    expect(await agent.selfCheck()).toEqual([{ name: 'options', ok: false, detail: message }]);
    await agent.close();
    const pulling = await openPullAgent(options as never);
    expect(failure(await pulling.run())).toMatchObject({ code: 'invalid_argument', message });
  });

  it('a member that cannot be read', async () => {
    const options = {
      get home(): string {
        throw new Error('no');
      },
    };
    const dispatcher = await openDispatcher(options);
    expect(failure(await dispatcher.ca()).message).toBe('options: could not be read');
  });

  it('openAgent names the action that is none', async () => {
    const agent = await openAgent({ home, actions: { greet: 'hello' } } as never);
    expect(failure(await agent.serve()).message).toBe('actions.greet: expected a function or an object');
    const described = await openAgent({ home, actions: { greet: { run: () => 1, schem: {} } } } as never);
    expect(failure(await described.serve()).message).toBe(
      'actions.greet.schem: there is no such member; did you mean schema?',
    );
  });
});

describe('a wrong member is named', () => {
  it.each([
    [{ hosts: 'web', script: 'x' }, 'hosts: expected a list, each text'],
    [{ hosts: ['web', 1], script: 'x' }, 'hosts[1]: expected text'],
    [{ script: 'x' }, 'hosts: is missing, expected a list, each text'],
    [{ hosts: ['web'], scrip: 'x' }, 'scrip: there is no such member; did you mean script?'],
    [
      { hosts: ['web'], script: 'x', caller: { user: 'me' } },
      /^caller.user: there is no such member; known are/,
    ],
    [{ hosts: ['web'], script: 'x', port: 70_000 }, 'port: expected a port, 1 to 65535'],
  ])('run(%j)', async (request, message) => {
    await using fleet = await openDispatcher({ home });
    expect(failure(await fleet.run(request as never)).message).toMatch(message);
  });

  it('undefined is as left out', async () => {
    await using fleet = await openDispatcher({ home, config: undefined, events: undefined });
    const request = { hosts: ['web'], script: 'x', port: undefined, caller: undefined, signal: undefined };
    expect(failure(await fleet.run(request as never)).code).toBe('ca_missing');
  });
});

describe('what cannot be read, or is of another realm', () => {
  const circle: Record<string, unknown> = {};
  circle['circle'] = circle;
  const gone = Proxy.revocable({}, {});
  gone.revoke();
  const once = () => {
    let count = 0;
    return {
      get env() {
        count += 1;
        if (count > 1) throw new Error('once');
        return 'prod';
      },
    };
  };
  const url = 'http://127.0.0.1:1';

  it('is the error of a call', async () => {
    await using fleet = await openDispatcher({ home });
    await using client = createApiClient({ url, retries: 0 });
    for (const bad of [circle, gone.proxy, { count: 1n }]) {
      expect(failure(await client.run(bad as never)).code).toBe('invalid_argument');
      expect(failure(await client.submit(bad as never)).code).toBe('invalid_argument');
      expect(failure(await fleet.run(bad as never)).code).toBe('invalid_argument');
    }
  });

  it('a lock is given up as it was listed', async () => {
    await using fleet = await memoryFleet({ agents: {} });
    const lock = { host: 'web', script: 'x', runId: '0123456789abcdef', since: new Date() };
    expect(failure(await fleet.releaseLock(lock)).message).toMatch(/no run holds a lock of x on web/);
  });

  it.each([
    [new Map([['env', 'prod']])],
    [new URLSearchParams('env=prod')],
    [Promise.resolve({ env: 'prod' })],
    [[['env', 'prod']]],
  ])('%o is no object with members', async (bad) => {
    await using fleet = await memoryFleet({ agents: {} });
    expect(failure(await fleet.agents(bad as never)).message).toBe('tags: expected an object');
    expect(failure(await fleet.rotate(bad as never)).code).toBe('invalid_argument');
    await using client = createApiClient({ url, retries: 0, headers: bad as never });
    expect(failure(await client.health()).message).toBe('headers: expected an object');
    await using other = createApiClient({ url, retries: 0 });
    expect(failure(await other.discover(bad as never)).message).toBe('request: expected an object');
  });

  it('is read once', async () => {
    await using fleet = await memoryFleet({ agents: {} });
    expect(value(await fleet.agents(once()))).toEqual([]);
    await using client = createApiClient({ url, retries: 0 });
    expect(failure(await client.submit(once() as never)).code).toBe('connection_failed');
  });

  it('an AbortSignal that is not of Node ends a call', async () => {
    await using fleet = await memoryFleet({ agents: { web: {} } });
    await using client = createApiClient({ url, retries: 0 });
    const listeners: (() => void)[] = [];
    const foreign = {
      aborted: false,
      reason: undefined,
      addEventListener: (_: string, listener: () => void) => listeners.push(listener),
    };
    const running = fleet.run({ hosts: ['web'], script: 'x', signal: foreign as never });
    for (const listener of listeners) listener();
    expect(value(await running).results).toHaveLength(1);
    const over = { ...foreign, aborted: true } as never;
    expect(failure(await client.health({ signal: over })).code).toBe('aborted');
  });
});
