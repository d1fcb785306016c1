import fc from 'fast-check';
import { errAsync, ok, ResultAsync } from 'neverthrow';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { readCatalogue } from '../../../scripts/events-doc.mjs';
import { memoryRunJournal } from '../../../src/adapters/memory/run-journal.js';
import { failure as errorOf } from '../../../src/domain/core/errors.js';
import type { LogEvent } from '../../../src/domain/core/event.js';
import { logLine } from '../../../src/domain/core/log-line.js';
import { parseJoinToken } from '../../../src/domain/pairing/join-token.js';
import { jsonAnswer } from '../../../src/domain/protocol/http-message.js';
import { newStanding } from '../../../src/domain/trust/agent-standing.js';
import type { KeyStore, KeyStoreItem } from '../../../src/ports/key-store.js';
import type { PairingCode, PairingTrust } from '../../../src/sdk/agent/pairing/options.js';
import { serve } from '../../../src/sdk/agent/serve.js';
import { failure, value } from '../../contract/result.js';
import { holdLock } from '../../support/fleet/begun-runs.js';
import { eventsOf } from '../../support/fleet/events.js';
import { gatedProgram } from '../../support/fleet/gated-programs.js';
import {
  ask,
  day,
  identityOf,
  lifecycle,
  pingFails,
  presenceOf,
  runFails,
} from '../../support/fleet/lifecycle.js';
import { type Seen, scriptedAgent, servingAgent } from '../../support/fleet/memory-agents.js';
import {
  dispatcherHost,
  identifiedFleet,
  type MemoryFleet,
  memoryFleet,
  pairAgent,
  setUp,
  type TestAgent,
  type TestDispatcher,
} from '../../support/fleet/memory-fleet.js';
import { legacyJoiner } from '../../support/legacy/memory.js';

const secret = (what: string) => `secret-${what}-4711`;
const diskFull = errorOf('file_failed', 'disk full', { path: '/', operation: 'write', reason: 'ENOSPC' });
const keyStoreOf = (agent: TestAgent) => agent.context.keyStore(undefined as never);

/** Everything that two hosts can do to each other, good and bad. */
async function everything() {
  const fleet = memoryFleet();
  const control = fleet.dispatcher();
  const agents: TestAgent[] = [];
  const agent = (...args: Parameters<MemoryFleet['agent']>): TestAgent => {
    const made = fleet.agent(...args);
    agents.push(made);
    return made;
  };
  const secrets: string[] = [];

  const mode = await setUp(control);
  await pairAndServe(fleet, control, agent);
  secrets.push(...(await joinTokens(fleet, control, agent)));
  await fleet.clock.advance(120_000);
  await unreported(fleet, control, agent('web-04'), mode);
  await wrongCodes(fleet, control, agent);
  await givenUp(fleet, control);
  await takenOver(fleet, control);

  const later = await ageing();

  for (const { context } of agents)
    secrets.push(...(await keysOf(context.keyStore(undefined as never), ['agent-key'])));
  secrets.push(...(await keysOf(control.context.keyStore, dispatcherKeys)));
  return {
    control: [...control.events.events, ...later.control],
    agents: [...agents.flatMap(({ events }) => events.events), ...later.agents, ...(await longRuns())],
    secrets: [...secrets, ...later.secrets],
  };
}

/** Runs that outlast their requests, and one that nobody follows to its end. */
async function longRuns() {
  const gate = gatedProgram();
  const agent = await servingAgent({ programs: { '/opt/greet': gate.program } });
  const body = { script: 'greet', args: [secret('argument')], username: 'alice', token: secret('token') };
  await agent.ask({ body: { ...body, reqid: 'job', async: true } });
  await agent.ask({ path: '/v2/cancel', body: { reqid: 'job' } });
  await vi.waitFor(() => expect(eventsOf(agent.events, 'job-end')).toHaveLength(1));
  await agent.ask({ method: 'GET', path: '/result/job' });
  await agent.ask({ path: '/v2/settle', body: { reqid: 'job' } });
  const { answer } = await agent.hand(await agent.make({ body: { ...body, reqid: 'stream', stream: true } }));
  await answer.stream?.[Symbol.asyncIterator]().return?.();
  return agent.events.events;
}

/** An agent of another installation, seen for the first time. */
async function takenOver(fleet: MemoryFleet, control: TestDispatcher) {
  const reqids = ({ body }: Seen) => jsonAnswer(200, { exit: 0, reqid: body['reqid'] });
  await scriptedAgent(fleet, control, 'old-01', reqids, { registered: false });
  const { registry, keyStore, crypto } = control.context;
  const own = value(await keyStore.read(['dispatcher-certificate']))['dispatcher-certificate'];
  const { serial } = value(crypto.readCertificate(own ?? ''));
  const endpoint = { host: 'old-01', ip: '192.0.2.9', port: 7443, lookupBy: 'hostname' } as const;
  const agent = { name: 'old-01', endpoint, tags: {}, standing: newStanding([serial]), pairedAt: 1 };
  value(await registry.adopt([agent]));
  value(await control.dispatcher.run({ hosts: ['old-01'], script: 'greet' }));
}

/** What happens to keys and certificates within years, and what is refused of it. */
async function ageing() {
  const world = await lifecycle(['web-01', 'web-02']);
  const { control, clock, host } = world;
  const { dispatcher } = control;
  const [one, two] = [host('web-01'), host('web-02')];
  const secrets = new Set<string>();
  const noteSecrets = async () => {
    for (const { keyStore } of [one, two])
      for (const line of await keysOf(keyStore, ['agent-key'])) secrets.add(line);
    for (const line of await keysOf(control.context.keyStore, dispatcherKeys)) secrets.add(line);
  };
  const settled = async <T>(work: PromiseLike<T>) => world.fleet.settle(work);
  await noteSecrets();

  one.full = true;
  expect(value(await dispatcher.rotate()).state).toBe('waiting');
  one.full = false;
  expect(value(await dispatcher.rotate()).state).toBe('switched');
  await two.down();
  for (let month = 0; month < 2; month += 1) {
    await clock.advance(31 * day);
    value(await dispatcher.maintain());
    value(await dispatcher.rotate());
  }
  await noteSecrets();
  await two.up();
  expect(await runFails(control, 'web-02')).toBeUndefined();

  one.full = true;
  value(await dispatcher.revoke('abcdef'));
  await runFails(control, 'web-01');
  one.full = false;
  value(await settled(dispatcher.rotateCa()));
  for (let week = 0; week < 6; week += 1) {
    await clock.advance(7 * day);
    value(await dispatcher.maintain());
  }
  await noteSecrets();

  const identity = await identityOf(control);
  await ask(control, identity, 'web-01', '/v2/crl', { crl_pem: 'no list' });
  expect(await runFails(control, 'web-01')).toBeUndefined();
  const reqid = eventsOf(control.events, 'run').at(-1)?.fields.reqid;
  const again = { script: 'greet', args: [], reqid, token: secret('token') };
  expect((await ask(control, identity, 'web-01', '/run', again)).status).toBe(200);
  const stranger = await presenceOf(control, 'control');
  await ask(control, stranger, 'web-01', '/rotate-serial', {
    serial: stranger.certificate.serial,
    action: 'add',
    succession: [],
  });
  await ask(control, { ...identity, signer: stranger.signer }, 'web-01', '/ping', {});
  // Another dispatcher has claimed its next serial.
  const { serial, pem } = stranger.certificate;
  const trusted = value(await one.keyStore.read(['trusted-dispatchers']))['trusted-dispatchers'];
  value(await one.keyStore.replace({ 'trusted-dispatchers': `${trusted}${serial} other\n` }));
  await one.reload();
  await ask(control, identity, 'web-01', '/rotate-serial', { serial, action: 'add', pem });

  // The present one has brought it, and a list that this dispatcher has forgotten.
  value(await control.context.registry.note('web-01', { trusts: [serial] }));
  const now = clock.now();
  const forgotten = value(
    await control.context.authority.revocationList({
      dispatcherId: 'control',
      number: 50,
      revoked: [...value(await dispatcher.revocations()), { serial: 'fade', revokedAt: now }],
      thisUpdate: now,
      nextUpdate: now + day,
    }),
  );
  await ask(control, identity, 'web-01', '/v2/crl', { crl_pem: forgotten.pem });
  for (const _ of [1, 2]) await pingFails(control, 'web-01');

  await two.down();
  value(await serve({ ...two.context, journal: () => memoryRunJournal({ complete: false }) }));
  two.full = true;
  await clock.advance(250 * day);
  value(await dispatcher.maintain());
  const { keys } = value(await dispatcher.revoke('web-02'));
  for (const key of keys) value(await dispatcher.unban(key));
  return {
    control: control.events.events,
    agents: [one, two].flatMap(({ test }) => test.events.events),
    secrets: [...secrets],
  };
}

const dispatcherKeys = ['ca-key', 'dispatcher-key', 'pairing-key'] as const;

async function keysOf<Item extends KeyStoreItem>(
  store: KeyStore<Item>,
  items: readonly Item[],
): Promise<string[]> {
  const documents = value(await store.read(items));
  return items.flatMap((item) => {
    const pem = documents[item];
    return pem === undefined
      ? []
      : pem.split('\n').filter((line) => line.length > 20 && !line.startsWith('-'));
  });
}

async function pairAndServe(fleet: MemoryFleet, control: TestDispatcher, agent: (host: string) => TestAgent) {
  const web = agent('web-01');
  value(await pairAgent(fleet, control, web));
  web.files.replace('/etc/ctrl-exec-agent/agent.conf', 'unknown_key = 1\n', 0o644);
  const serving = value(await web.agent.serve());
  const { dispatcher } = control;
  const caller = { username: 'alice', token: secret('token') };
  const hosts = ['web-01'];
  const ask = async () => {
    const args = [secret('argument')];
    const done = [
      await dispatcher.ping({ hosts: [...hosts, 'nowhere'], caller }),
      await dispatcher.discover({ hosts, caller }),
      await dispatcher.run({ hosts, script: 'greet', args, caller }),
      await dispatcher.run({ hosts, script: 'greet', args, caller, idempotencyKey: 'once' }),
      await dispatcher.run({ hosts, script: 'greet', args, caller, idempotencyKey: 'once' }),
      await dispatcher.run({ hosts, script: 'fail', args, caller }),
      await dispatcher.run({ hosts, script: 'unknown', args, caller }),
    ];
    return done;
  };
  for (const outcome of await ask()) value<unknown>(outcome);
  const order = { hosts, script: 'greet', args: [secret('argument')], caller };
  const { reqid } = value(await dispatcher.submit(order));
  value(await fleet.settle(dispatcher.wait(reqid, { caller })));
  value(await dispatcher.cancel(reqid, { caller }));
  await holdLock(control, 'web-01', 'left');
  value(await dispatcher.releaseLock({ host: 'web-01', script: 'left' }));

  control.hook = { kind: 'exited', code: 2 };
  for (const outcome of await ask()) expect(failure(outcome).code).toBe('denied');
  control.hook = { kind: 'none' };
  web.hook = { kind: 'exited', code: 3 };
  for (const outcome of await ask()) value<unknown>(outcome);
  web.hook = { kind: 'none' };

  value(await serving.reload());
  await web.files.replace('/etc/ctrl-exec-agent/agent.conf', 'allowed_ips = nobody\n', 0o644);
  expect((await serving.reload()).isErr()).toBe(true);
  await web.files.replace('/etc/ctrl-exec-agent/agent.conf', 'allowed_ips = 203.0.113.0/24\n', 0o644);
  value(await serving.reload());
  control.context.channel.forget();
  await ask();
  await web.files.replace('/etc/ctrl-exec-agent/agent.conf', 'rate_limit_probe = 1/1/1\n', 0o644);

  const { serial } = value(
    (await control.context.keyStore.read(['dispatcher-certificate'])).andThen((documents) =>
      control.context.crypto.readCertificate(documents['dispatcher-certificate'] ?? ''),
    ),
  );
  value(await keyStoreOf(web).replace({ 'revoked-serials': `${serial}\n` }));
  value(await serving.reload());
  control.context.channel.forget();
  await ask();
  await fleet.clock.advance(2_000);
  value(await keyStoreOf(web).replace({ 'revoked-serials': 'not a serial\n' }));
  const other = { ...web.context, journal: () => memoryRunJournal({ complete: false }) };
  await value(await serve(other, { port: 8443 })).close(0);
  value(await keyStoreOf(web).replace({ 'revoked-serials': '' }));
  value(await serving.reload());
  Object.assign(web.context.runner, {
    run: () => {
      throw new TypeError('a bug');
    },
  });
  await ask();
  await serving.close(0);
  await ask();

  const full = errorOf('store_failed', 'disk full', { operation: 'run.complete', reason: 'ENOSPC' });
  Object.assign(control.context.runStore, { settle: () => errAsync(full) });
  await ask();

  value(await dispatcher.editAgent('web-01', { rename: 'web-09', port: 8443 }));
  value(await dispatcher.unpair('web-09'));
}

async function joinTokens(
  fleet: MemoryFleet,
  control: TestDispatcher,
  agent: (...args: Parameters<MemoryFleet['agent']>) => TestAgent,
): Promise<string[]> {
  const unseen = value(await control.dispatcher.issueJoinToken({ host: 'web-02' }));
  value(await control.dispatcher.withdrawJoinToken(unseen.token));
  const { token } = value(await control.dispatcher.issueJoinToken({ host: 'web-02' }));
  const trust: PairingTrust = { kind: 'join', token };
  // Paired, but for its full disk: the token is bound to its key from then on.
  const full = agent('web-02', '', { replace: () => errAsync(diskFull) });
  expect((await fleet.settle(full.agent.pair({ dispatcher: dispatcherHost, trust }))).isErr()).toBe(true);
  const thief = agent('web-02');
  expect((await fleet.settle(thief.agent.pair({ dispatcher: dispatcherHost, trust }))).isErr()).toBe(true);
  const forged = `${token.slice(0, -4)}AAAA`;
  await fleet.settle(
    agent('web-02').agent.pair({ dispatcher: dispatcherHost, trust: { kind: 'join', token: forged } }),
  );
  const { secret: bytes } = value(parseJoinToken(token));
  const record = value(await control.context.joinTokens.find(idOf(token)));
  return [
    token,
    token.split('.')[2] ?? '',
    Buffer.from(bytes).toString('hex'),
    Buffer.from(bytes).toString('base64'),
    record?.key ?? fail(),
  ];
}

const idOf = (token: string) => Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('hex');
const fail = (): never => {
  throw new Error('the token is not kept');
};

/** The pairing port closes before the agent can say that it has installed its certificate. */
async function unreported(
  fleet: MemoryFleet,
  control: TestDispatcher,
  agent: TestAgent,
  mode: Awaited<ReturnType<typeof setUp>>,
) {
  const store = keyStoreOf(agent);
  const { replace } = store;
  Object.assign(store, {
    replace: (documents: Parameters<typeof replace>[0]) =>
      replace(documents).andThen(() =>
        ResultAsync.fromSafePromise(Promise.resolve(mode.close())).andThen(() => ok(undefined)),
      ),
  });
  value(await pairAgent(fleet, control, agent));
}

/** Three operators read another code than the agent shows. */
async function wrongCodes(fleet: MemoryFleet, control: TestDispatcher, agent: (host: string) => TestAgent) {
  const mode = value(await control.dispatcher.openPairing());
  for (const host of ['web-05', 'web-06', 'web-07']) {
    const confirm = async ({ code, request }: PairingCode) => {
      const other = code === '000000' ? '000001' : '000000';
      return (await control.dispatcher.approve({ id: request, code: other })).isErr();
    };
    const denied = agent(host).agent.pair({
      dispatcher: dispatcherHost,
      trust: { kind: 'compare', confirm },
    });
    expect(failure(await fleet.settle(denied)).code).toBe('pairing_denied');
  }
  await mode.comparingClosed;
  value(await mode.close());
}

/** Ten requests show a code, and then nothing more is heard of them. */
async function givenUp({ network, clock }: MemoryFleet, control: TestDispatcher) {
  value(await control.dispatcher.openPairing({ allowV1: true }));
  const limit = control.context.settings.pairingMaxQueue;
  for (let turn = 0; turn < limit; turn += 1) {
    const joiner = await legacyJoiner({ network }, `web-${turn}`, `198.51.100.${turn}`);
    (await joiner.ask()).hangUp();
    await clock.advance(1);
  }
}

describe('events', () => {
  let happened: Awaited<ReturnType<typeof everything>>;
  beforeAll(async () => {
    happened = await everything();
  });

  const catalogue = readCatalogue();
  const named = (name: string) => (catalogue.get(name) ?? []).map(({ action }) => action).sort();
  const actions = (events: readonly LogEvent[]) => [...new Set(events.map(({ action }) => action))].sort();

  it('every event of a dispatcher happens', () => {
    expect(actions(happened.control)).toEqual(named('DispatcherEvents'));
  });

  it('every event of an agent happens, also the one of a bug', () => {
    const shared = new Set(named('SharedEvents'));
    const own = actions(happened.agents).filter(
      (action) => !shared.has(action) || action === 'internal-error',
    );
    // Those of functions that an agent runs: see integration/actions.
    const ofFunctions = new Set(['action-failed', 'action-goes-on']);
    const expected = named('AgentEvents').filter((action) => !ofFunctions.has(action));
    expect(own).toEqual([...expected, 'internal-error'].sort());
  });

  it('an event has the fields that are documented, and no other', () => {
    const documented = new Map([...catalogue.values()].flat().map((event) => [event.action, event.fields]));
    for (const { action, fields } of [...happened.control, ...happened.agents]) {
      const known = documented.get(action) ?? [];
      const given = Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [name]));
      expect(known.map(({ name }) => name)).toEqual(expect.arrayContaining(given));
      const needed = known.filter(({ optional }) => !optional).map(({ name }) => name);
      expect(given, action).toEqual(expect.arrayContaining(needed));
    }
  });

  it('no secret is in any of them: token, argument, output, join secret, key', () => {
    const log = [...happened.control, ...happened.agents].map(
      (event) => `${JSON.stringify(event)}${logLine(event)}`,
    );
    const kept = [secret('token'), secret('argument'), ...happened.secrets];
    expect(kept.length).toBeGreaterThan(10);
    for (const each of kept) {
      expect(each.length).toBeGreaterThan(10);
      expect(log.filter((line) => line.includes(each))).toEqual([]);
    }
  });

  it('a run and a ping have one request id on both hosts', () => {
    const ids = (events: readonly LogEvent[], action: string) =>
      events
        .filter((event) => event.action === action)
        .map(({ fields }) => 'reqid' in fields && fields.reqid);
    // What was asked without a dispatcher's events.
    const runs = ids(happened.agents, 'run-start').filter((id) => id !== 'stream');
    expect(runs.length).toBeGreaterThan(0);
    expect(ids(happened.control, 'run')).toEqual(expect.arrayContaining(runs));
    const pings = ids(happened.agents, 'ping-answered');
    expect(pings.length).toBeGreaterThan(0);
    // Maintenance and renewals ask agents, too.
    expect(pings.filter((id) => ids(happened.control, 'ping').includes(id)).length).toBeGreaterThan(0);
  });
});

it.each([
  ['as it is', 'secret-token-4711'],
  ['with what is escaped in a log', 'secret\n"token"-\u202e4711'],
  ['longer than what is kept of an error', `secret-${'4711-'.repeat(200)}`],
])(
  'a token that the agent puts into its errors is in no event, but in what the caller gets: %s',
  async (_way, token) => {
    const { fleet, control } = await identifiedFleet();
    const heard: string[] = [];
    await scriptedAgent(fleet, control, 'web-01', ({ path, body }) => {
      heard.push(String(body['token'] ?? ''));
      const error = `not for ${token}, ${token}`;
      return path === '/run' && body['script'] === 'greet'
        ? jsonAnswer(200, { exit: -1, stdout: token, stderr: '', error, reqid: body['reqid'] })
        : jsonAnswer(403, { error });
    });
    const hosts = ['web-01'];
    const caller = { username: 'alice', token };
    const { dispatcher } = control;
    const told = [
      value(await dispatcher.run({ hosts, script: 'greet', caller })).results,
      value(await dispatcher.run({ hosts, script: 'other', caller })).results,
      value(await dispatcher.ping({ hosts, caller })).results,
      value(await dispatcher.discover({ hosts, caller })).hosts,
    ];
    expect(heard).toContain(token);
    for (const [result] of told) expect(JSON.stringify(result)).toContain('not for secret');
    const errors = control.events.events.flatMap(({ fields }) => ('error' in fields ? [fields.error] : []));
    expect(errors).toHaveLength(4);
    for (const error of errors) {
      expect(error).toContain('not for [token]');
      expect(error).not.toMatch(/secret|4711/);
    }
  },
);

it('whatever token and arguments a run has, and however it ends, they are in no event of either host', async () => {
  const fleet = memoryFleet();
  const control = fleet.dispatcher();
  const web = fleet.agent('web-01');
  await setUp(control);
  value(await pairAgent(fleet, control, web));
  value(await web.agent.serve());
  const marker = fc.stringMatching(/^[A-Za-z0-9]{12,24}$/);
  const around = fc.constantFrom('', '\n', '"', '\u202e', ' ', '\0', 'é');
  const ways = fc.record({
    script: fc.constantFrom('greet', 'fail', 'unknown', 'no script'),
    control: fc.constantFrom(0, 1, 2, 3, 9),
    agent: fc.constantFrom(0, 1, 2, 3, 9),
  });
  await fc.assert(
    fc.asyncProperty(marker, around, ways, async (mark, edge, { script, control: ours, agent: theirs }) => {
      control.hook = { kind: 'exited', code: ours };
      web.hook = { kind: 'exited', code: theirs };
      const before = control.events.events.length + web.events.events.length;
      const caller = { username: 'alice', token: `${edge}token${mark}${edge}` };
      const hosts = ['web-01'];
      await control.dispatcher.run({ hosts, script, args: [`${edge}argument${mark}`], caller });
      await control.dispatcher.ping({ hosts, caller });
      await control.dispatcher.discover({ hosts, caller });
      const events = [...control.events.events, ...web.events.events];
      expect(events.length).toBeGreaterThan(before);
      expect(JSON.stringify(events)).not.toContain(mark);
    }),
    { numRuns: 60 },
  );
});
