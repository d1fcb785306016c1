import { errAsync, ResultAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { type CtrlExecError, failure } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import type { HookOutcome } from '../../../../../src/domain/runs/auth-hook.js';
import type { AuthHook } from '../../../../../src/ports/auth-hook.js';
import { run } from '../../../../../src/sdk/dispatcher/runs/run.js';
import { value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  type Answering,
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
import { interposed } from '../../../../support/network/interposed.js';
import { deferred } from '../../../../support/network/network.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
});

const success: Answering = ({ body }) => jsonAnswer(200, { exit: 0, stdout: '', reqid: body['reqid'] });

const runOn = async (host: string, context = control.context) => {
  const { results } = value(await run(context, { hosts: [host], script: 'greet' }));
  const [result] = results;
  if (!result) throw new Error('no result');
  return result;
};

const pinsOf = async (name: string) =>
  value(await control.context.registry.find(name))?.pins.map(({ state, spkiSha256 }) => ({
    state,
    spkiSha256,
  }));

describe('a registered name', () => {
  it('is served by the pinned key, to which this dispatcher shows its own certificate', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    expect(await runOn('web-01')).toMatchObject({ host: 'web-01', exit: 0 });
    const own = value(await control.context.keyStore.read(['dispatcher-certificate']));
    const { serial } = value(control.context.crypto.readCertificate(own['dispatcher-certificate'] ?? ''));
    expect(seen.map(({ client }) => client)).toEqual([serial]);
  });

  it('answered by an unknown key of the same CA and name is refused, and the impostor is asked nothing', async () => {
    const impostor = await scriptedAgent(fleet, control, 'web-01', success, { registered: false });
    await register(control, 'web-01', await issueAgent(control, 'web-01'));
    const result = await runOn('web-01');
    expect(result).toMatchObject({ exit: -1, stdout: '', error: expect.stringContaining('wrong identity') });
    expect(result.error).toContain('ctrl-exec:agent:web-01');
    expect(result.error).toContain('nothing was sent');
    expect(impostor.seen).toEqual([]);
  });

  it('answered by the key of another registered agent is refused, and that one is asked nothing', async () => {
    const other = await scriptedAgent(fleet, control, 'web-02', success, { host: 'web-01' });
    await register(control, 'web-01', await issueAgent(control, 'web-01'));
    expect((await runOn('web-01')).error).toContain('key of ctrl-exec:agent:web-02');
    expect(other.seen).toEqual([]);
  });

  it('answered under another CA is refused before the pin is looked at', async () => {
    const elsewhere = fleet.dispatcher('elsewhere.test');
    await identify(elsewhere);
    const { issued, seen } = await scriptedAgent(fleet, elsewhere, 'web-01', success);
    await register(control, 'web-01', issued);
    expect(await runOn('web-01')).toMatchObject({ exit: -1, error: expect.stringContaining('TLS') });
    expect(seen).toEqual([]);
  });

  it('whose pin was replaced is not asked over the connection of the old key', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    await runOn('web-01');
    await register(control, 'web-01', await issueAgent(control, 'web-01'));
    expect((await runOn('web-01')).error).toContain('wrong identity');
    expect(seen.length).toBe(1);
  });

  it('that was unpaired is not asked over the connection that was kept', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    await runOn('web-01');
    value(await control.dispatcher.unpair('web-01'));
    expect((await runOn('web-01')).exit).toBe(-1);
    expect(seen.length).toBe(1);
  });

  it('is dialled where its record says: name or address, and the port of the call', async () => {
    const dialled: string[] = [];
    const { channel, registry } = control.context;
    const context = withPorts(control, {
      channel: interposed(channel, {
        connect: ({ host, port }) => {
          dialled.push(`${host} ${port}`);
          return errAsync(failure('aborted', 'not dialled', {}));
        },
      }),
    });
    await register(control, 'web-01', await issueAgent(control, 'web-01'), { host: 'web-01.example.org' });
    const endpoint = { host: 'web-01.example.org', ip: '2001:db8::7', port: 8443 };
    for (const lookupBy of ['hostname', 'ip'] as const) {
      value(await registry.update('web-01', { endpoint: { ...endpoint, lookupBy } }));
      await run(context, { hosts: ['WEB-01'], script: 'greet' });
    }
    await run(context, { hosts: ['web-01'], script: 'greet', port: 9443 });
    await run(context, { hosts: ['other', 'other:1', '[2001:db8::8]:2', '2001:db8::9'], script: 'greet' });
    await run(context, { hosts: ['other', 'other:1'], script: 'greet', port: 9443 });
    expect(dialled).toEqual([
      'web-01.example.org 8443',
      '2001:db8::7 8443',
      '2001:db8::7 9443',
      'other 7443',
      'other 1',
      '2001:db8::8 2',
      '2001:db8::9 7443',
      'other 9443',
      'other 1',
    ]);
  });
});

describe('an issued pin', () => {
  it('becomes active at the first answer of its key, and the older pin goes', async () => {
    const old = await issueAgent(control, 'web-01');
    await register(control, 'web-01', old);
    const { issued } = await scriptedAgent(fleet, control, 'web-01', success, { registered: 'issued' });
    expect(await pinsOf('web-01')).toEqual([
      { state: 'active', spkiSha256: old.spkiSha256 },
      { state: 'issued', spkiSha256: issued.spkiSha256 },
    ]);
    expect((await runOn('web-01')).exit).toBe(0);
    expect(await pinsOf('web-01')).toEqual([{ state: 'active', spkiSha256: issued.spkiSha256 }]);
  });

  it('becomes active also when what its key answers is a refusal', async () => {
    await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(403, { error: 'serial mismatch' }), {
      registered: 'issued',
    });
    expect((await runOn('web-01')).exit).toBe(-1);
    expect(await pinsOf('web-01')).toMatchObject([{ state: 'active' }]);
  });

  it('stays as it is while the older key answers', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    const before = await pinsOf('web-01');
    await register(control, 'web-01', await issueAgent(control, 'web-01'), { state: 'issued' });
    expect((await runOn('web-01')).exit).toBe(0);
    expect(await pinsOf('web-01')).toMatchObject([...(before ?? []), { state: 'issued' }]);
  });

  it('becomes active when its agent answers for a host that is not registered', async () => {
    await scriptedAgent(fleet, control, 'web-01', success, { registered: 'issued' });
    expect(await runOn('web-01:7443')).toMatchObject({ host: 'web-01:7443', exit: 0 });
    expect(await pinsOf('web-01')).toMatchObject([{ state: 'active' }]);
  });
});

describe('a host that is not registered', () => {
  it('is accepted with the key of a registered agent, which the result names', async () => {
    await scriptedAgent(fleet, control, 'web-01', success, { host: 'alias.test' });
    expect(await runOn('alias.test')).toMatchObject({
      host: 'alias.test',
      exit: 0,
      reportedHostname: 'web-01',
    });
  });

  it('is refused with a key that nobody has, although its certificate is of our CA', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'stranger', success, { registered: false });
    const { error } = await runOn('stranger');
    expect(error).toContain('wrong identity');
    expect(error).toContain('ctrl-exec:agent:stranger');
    expect(seen).toEqual([]);
  });

  it('is refused once the agent was unpaired, also over a connection that was kept', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    expect((await runOn('web-01:7443')).exit).toBe(0);
    value(await control.dispatcher.unpair('web-01'));
    expect(await runOn('web-01:7443')).toMatchObject({
      exit: -1,
      error: expect.stringContaining('wrong identity'),
    });
    expect(seen.length).toBe(1);
  });

  it('is refused when the registry cannot be asked', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success);
    const down = failure('store_failed', 'the store is locked', { operation: 'read', reason: 'BUSY' });
    const { registry } = control.context;
    const context = withPorts(control, { registry: { ...registry, findByKey: () => errAsync(down) } });
    expect(await runOn('web-01:7443', context)).toMatchObject({ exit: -1, error: 'the store is locked' });
    expect(seen).toEqual([]);
  });

  it('locks under the text that was given', async () => {
    const keys: unknown[] = [];
    const { runStore } = control.context;
    const context = withPorts(control, {
      runStore: {
        ...runStore,
        begin: (start, now) => {
          keys.push(...start.hosts);
          return runStore.begin(start, now);
        },
      },
    });
    await scriptedAgent(fleet, control, 'web-01', success);
    await run(context, { hosts: ['WEB-01', 'web-01:7443'], script: 'greet' });
    expect(keys).toEqual([{ host: 'web-01' }, { host: 'web-01:7443' }]);
  });
});

describe('the second question to the hook', () => {
  const denied = { kind: 'exited', code: 1 } as const;
  const allowed = { kind: 'exited', code: 0 } as const;

  /** A hook with a word about `web-01` by name; the answer comes when `answered` is resolved. */
  function hooked(aboutOwner: HookOutcome, answered: Promise<void> = Promise.resolve()) {
    const asked: (readonly string[])[] = [];
    const hook: AuthHook = {
      ask: ({ hosts }) => {
        asked.push(hosts);
        return ResultAsync.fromSafePromise(
          hosts.includes('web-01') ? answered.then(() => aboutOwner) : Promise.resolve(allowed),
        );
      },
    };
    return { asked, context: withPorts(control, { hook }) };
  }

  it('is about the registry name of who answers, and a yes lets the request through', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success, { host: 'alias.test' });
    const { asked, context } = hooked(allowed);
    expect(await runOn('alias.test', context)).toMatchObject({ exit: 0, reportedHostname: 'web-01' });
    expect(asked).toEqual([['alias.test'], ['web-01']]);
    expect(seen).toHaveLength(1);
  });

  it('is not asked for a registered name, nor about who is nobody', async () => {
    await scriptedAgent(fleet, control, 'web-01', success);
    await scriptedAgent(fleet, control, 'stranger', success, { registered: false });
    const { asked, context } = hooked(allowed);
    await runOn('WEB-01', context);
    expect((await runOn('stranger', context)).error).toContain('wrong identity');
    expect(asked).toEqual([['web-01'], ['stranger']]);
  });

  it.each(['alias.test', 'alias.test:7443'])(
    'answered with no is the result of that host alone, and it is sent nothing: %s',
    async (host) => {
      const { seen } = await scriptedAgent(fleet, control, 'web-01', success, { host: 'alias.test' });
      await scriptedAgent(fleet, control, 'web-02', success);
      const { context } = hooked(denied);
      const { results } = value(await run(context, { hosts: [host, 'web-02'], script: 'greet' }));
      expect(results).toMatchObject([
        { host, exit: -1, error: 'denied' },
        { host: 'web-02', exit: 0 },
      ]);
      expect(seen).toEqual([]);
      expect(eventsOf(control.events, 'denied').map(({ fields }) => fields.hosts)).toEqual(['web-01']);
    },
  );

  it('is asked again for each request, also over a connection that was kept', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success, { host: 'alias.test' });
    expect(await runOn('alias.test', hooked(allowed).context)).toMatchObject({ exit: 0 });
    expect(await runOn('alias.test', hooked(denied).context)).toMatchObject({ exit: -1, error: 'denied' });
    expect(seen).toHaveLength(1);
  });

  it.each([
    ['yes', allowed, { exit: 0 }, 1],
    ['no', denied, { exit: -1, error: 'denied' }, 0],
  ] as const)(
    'may take long: no connection waits for it, and its %s holds then',
    async (_word, outcome, expected, requests) => {
      const { seen } = await scriptedAgent(fleet, control, 'web-01', success, { host: 'alias.test' });
      const answered = deferred();
      const { asked, context } = hooked(outcome, answered.promise);
      const { clock } = fleet;
      /** Milliseconds that each connection was held before it was used or given back. */
      const held: number[] = [];
      const { channel } = context;
      const timed: typeof channel = {
        ...channel,
        connect: (...asked) =>
          channel.connect(...asked).map((connection) => {
            const begun = clock.monotonic();
            const took = () => held.push(clock.monotonic() - begun);
            return {
              ...connection,
              exchange(request) {
                took();
                return connection.exchange(request);
              },
              release() {
                if (held.length === 0) took();
                connection.release();
              },
            };
          }),
      };
      const running = runOn('alias.test', { ...context, channel: timed });
      clock.after(15_000, answered.resolve);
      const result = await fleet.settle(running);
      expect(result).toMatchObject(expected);
      expect(seen).toHaveLength(requests);
      expect(asked).toEqual([['alias.test'], ['web-01']]);
      expect(Math.max(...held)).toBeLessThan(5_000);
      expect(held).toHaveLength(1 + requests);
      if (requests > 0) expect(result.rtt).toBeLessThan(5_000);
    },
  );

  it('that takes long is asked anew when another agent answers by then', async () => {
    const answered = deferred();
    const first = await scriptedAgent(fleet, control, 'web-01', success, { host: 'alias.test' });
    const { asked, context } = hooked(allowed, answered.promise);
    fleet.clock.after(15_000, () => {
      void first.listening
        .close(0)
        .then(() => scriptedAgent(fleet, control, 'web-02', success, { host: 'alias.test' }))
        .then(() => answered.resolve());
    });
    expect(await fleet.settle(runOn('alias.test', context))).toMatchObject({
      exit: 0,
      reportedHostname: 'web-02',
    });
    expect(asked).toEqual([['alias.test'], ['web-01'], ['web-02']]);
    expect(first.seen).toEqual([]);
  });

  it('that takes long ends for the caller who gives up', async () => {
    const { seen } = await scriptedAgent(fleet, control, 'web-01', success, { host: 'alias.test' });
    const { context } = hooked(allowed, new Promise(() => undefined));
    const stop = new AbortController();
    fleet.clock.after(3_000, () => stop.abort());
    const hosts = ['alias.test'];
    const ran = await fleet.settle(run(context, { hosts, script: 'greet', signal: stop.signal }));
    expect(value(ran).results).toMatchObject([
      { state: 'skipped', exit: -1, error: 'stopped by the caller before it was sent' },
    ]);
    expect(seen).toEqual([]);
  });
});

describe('a host that cannot be reached', () => {
  const refused: readonly CtrlExecError<'host_unresolved' | 'connection_refused' | 'timed_out'>[] = [
    failure('host_unresolved', 'the host name x does not resolve', { host: 'x' }),
    failure('connection_refused', 'nothing listens on x:1', { host: 'x', port: 1 }),
    failure('timed_out', 'no TCP connection within 10 s', { phase: 'connect', timeoutMs: 10_000 }),
    failure('timed_out', 'no TLS within 10 s', { phase: 'tls', timeoutMs: 10_000 }),
  ];
  it.each(refused)('is reported in the words of the channel: $message', async (error) => {
    const { channel } = control.context;
    const context = withPorts(control, { channel: interposed(channel, { connect: () => errAsync(error) }) });
    expect(await runOn('x', context)).toMatchObject({
      host: 'x',
      exit: -1,
      stdout: '',
      stderr: '',
      error:
        error.code === 'timed_out' && error.phase === 'tls'
          ? error.message
          : `x is not registered here; ${error.message}`,
    });
  });
});

it('control characters in the certificate of an impostor do not reach the message', async () => {
  await scriptedAgent(fleet, control, 'web-01', success);
  const { channel, crypto, keyStore } = control.context;
  const own = value(await keyStore.read(['dispatcher-certificate']))['dispatcher-certificate'];
  const certificate = value(crypto.readCertificate(own ?? ''));
  const context = withPorts(control, {
    channel: {
      ...channel,
      connect: (...asked) =>
        channel.connect(...asked).map((connection) => ({
          ...connection,
          peer: { ...certificate, uris: ['\u001b[2J\nweb-01\u202e'] },
        })),
    },
  });
  const { error } = await runOn('web-01', context);
  expect(error).toContain('wrong identity');
  expect(error).not.toMatch(/[\p{Cc}\p{Cf}]/u);
});
