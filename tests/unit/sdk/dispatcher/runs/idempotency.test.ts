import { errAsync, ResultAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import { hex, lengthPrefixed, utf8 } from '../../../../../src/domain/core/bytes.js';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { type HttpAnswer, jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import type { Dispatcher } from '../../../../../src/sdk/dispatcher/dispatcher.js';
import type { Caller } from '../../../../../src/sdk/dispatcher/fleet/authorise.js';
import { ownKey } from '../../../../../src/sdk/dispatcher/runs/repeat.js';
import { failure, value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  type Answering,
  dispatcherOver,
  type Seen,
  scriptedAgent,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
import {
  crypto,
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { interposed } from '../../../../support/network/interposed.js';
import { deferred } from '../../../../support/network/network.js';

let fleet: MemoryFleet;
let control: TestDispatcher;
let dispatcher: Dispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet('read_timeout = 5'));
  dispatcher = control.dispatcher;
});

const caller = { username: 'ann', token: 's3cret' };
const order = { hosts: ['web-01'], script: 'job', args: ['a'], caller, idempotencyKey: 'order 66' };

/** An agent that counts the scripts that it ran. */
async function counting(
  name: string,
  result: (request: Seen) => HttpAnswer | Promise<HttpAnswer> = unknown,
  ready: Promise<unknown> = Promise.resolve(),
) {
  let runs = 0;
  const answer: Answering = async (request) => {
    const { path, body } = request;
    if (path === '/capabilities') return jsonAnswer(200, { scripts: [], features: ['settle'] });
    if (path !== '/run') return result(request);
    runs += 1;
    await ready;
    if (body['async']) return jsonAnswer(202, { status: 'accepted', reqid: body['reqid'] });
    return jsonAnswer(200, { exit: runs, stdout: `run ${runs}\n`, stderr: '', reqid: body['reqid'] });
  };
  await scriptedAgent(fleet, control, name, answer);
  return { runs: () => runs };
}
const unknown = () => jsonAnswer(200, { status: 'void', complete_since: fleet.clock.now() - 120_000 });

/** What a process leaves behind that is killed once its run is recorded. */
async function killedAfterRecording(mode: 'sync' | 'async' = 'sync'): Promise<string> {
  const died = deferred();
  const { runStore } = control.context;
  const context = withPorts(control, {
    runStore: {
      ...runStore,
      begin: (run, now) =>
        runStore.begin(run, now).andThen((begun) => {
          died.resolve();
          return new Promise<never>(() => begun) as never;
        }),
    },
  });
  void (mode === 'sync' ? dispatcherOver(context).run(order) : dispatcherOver(context).submit(order)).then();
  await died.promise;
  const { reqid } = value(
    await runStore.findByIdempotencyKey(ownKey(control.context, order.idempotencyKey, caller)),
  ) ?? {
    reqid: '',
  };
  value(await runStore.settle(reqid, [], 0, 'left'));
  return reqid;
}

describe('a request that comes again under its idempotency key', () => {
  it('is given the answer of the first, and runs nothing', async () => {
    const agent = await counting('web-01');
    const first = value(await dispatcher.run(order));
    const told: string[] = [];
    const again = await dispatcher.run({
      ...order,
      onBegin: (reqid) => void told.push(reqid),
      onResult: ({ host }) => void told.push(host),
    });
    expect(value(again)).toEqual(first);
    expect(told).toEqual([first.reqid, 'web-01']);
    expect(agent.runs()).toBe(1);
    expect(eventsOf(control.events, 'repeat')).toMatchObject([
      { fields: { reqid: first.reqid, username: 'ann' } },
    ]);
  });

  it('is given what was said to a submission, whatever became of it since', async () => {
    const done = { status: 'done', exit: 0, stdout: '', stderr: '' };
    const agent = await counting('web-01', () => jsonAnswer(200, done));
    const first = value(await dispatcher.submit(order));
    value(await dispatcher.status(first.reqid));
    const again = value(await dispatcher.submit(order));
    expect(again.results).toMatchObject([{ host: 'web-01', status: 'accepted', state: 'succeeded' }]);
    expect(again.reqid).toBe(first.reqid);
    expect(agent.runs()).toBe(1);
  });

  it('while the first is under way waits for it, until it is told to stop', async () => {
    const late = deferred();
    let runs = 0;
    await scriptedAgent(fleet, control, 'web-01', async ({ body: { reqid } }) => {
      runs += 1;
      await late.promise;
      return jsonAnswer(200, { exit: 0, stdout: '', stderr: '', reqid });
    });
    const begun = deferred<string>();
    const first = dispatcher.run({ ...order, onBegin: begun.resolve });
    await begun.promise;
    const stop = new AbortController();
    const stopped = dispatcher.run({ ...order, signal: stop.signal });
    const again = dispatcher.run(order);
    await fleet.clock.advance(1000);
    stop.abort();
    expect(failure(await stopped).code).toBe('aborted');
    late.resolve();
    const ended = value(await first);
    expect(value(await fleet.settle(again))).toEqual(ended);
    expect(runs).toBe(1);
  });

  it('any number at once: one is run, and all have its answer', async () => {
    const agent = await counting('web-01');
    const { runStore } = control.context;
    const slow = dispatcherOver(
      withPorts(control, {
        runStore: {
          ...runStore,
          purge: (limits) =>
            runStore
              .purge(limits)
              .andThen((n) => ResultAsync.fromSafePromise(fleet.clock.advance(0).then(() => n))),
        },
      }),
    );
    const all = [slow, dispatcher, slow, dispatcher].map((each) => each.run(order));
    const answers = await fleet.settle(Promise.all(all));
    expect(new Set(answers.map((answer) => value(answer).reqid)).size).toBe(1);
    expect(agent.runs()).toBe(1);
  });

  it('before the first is recorded is itself the first, and both have its answer', async () => {
    const agent = await counting('web-01');
    const [locked, goOn] = [deferred(), deferred()];
    const { runStore } = control.context;
    const slow = dispatcherOver(
      withPorts(control, {
        runStore: {
          ...runStore,
          purge: () => {
            locked.resolve();
            return ResultAsync.fromSafePromise(goOn.promise.then(() => 0));
          },
        },
      }),
    );
    const first = slow.run(order);
    await locked.promise;
    const again = dispatcher.run(order);
    await fleet.clock.advance(1000);
    goOn.resolve();
    const { reqid } = value(await first);
    expect(value(await fleet.settle(again)).reqid).toBe(reqid);
    expect(agent.runs()).toBe(1);
  });

  it.each([
    ['script', { script: 'other' }],
    ['hosts', { hosts: ['web-01', 'web-02'] }],
    ['hosts', { hosts: ['web-02'] }],
    ['args', { args: ['a', ''] }],
    ['args', { args: [] }],
  ])('but is another one (%s) is refused, and runs nothing', async (field, change) => {
    const agents = [await counting('web-01'), await counting('web-02')];
    value(await dispatcher.run(order));
    const error = failure(await dispatcher.run({ ...order, ...change }));
    expect(error).toMatchObject({ code: 'idempotency_mismatch', field });
    expect(error.message).not.toMatch(/s3cret|order 66|ann/);
    expect(agents.map(({ runs }) => runs())).toEqual([1, 0]);
  });

  it.each([
    ['the same user', { token: 'another' }],
    ['the same user, nearly the same', { token: 's3cret ' }],
    ['the same user, shorter', { token: 's3cre' }],
    ['the same user, none', { token: '' }],
    ['nobody by name', { username: '', token: 'another' }, { username: '', token: 's3cret' }],
    ['nobody by name, none', {}, { username: '', token: 's3cret' }],
    ['somebody who had none', { token: 's3cret' }, { username: 'ann' }],
    ['somebody of whom nothing is known', { token: 's3cret' }, {}],
  ])('with another token (%s) is refused: no output, and no second run', async (_, other, first = caller) => {
    const agent = await counting('web-01');
    value(await dispatcher.run({ ...order, caller: first }));
    const { username = '' } = first as { username?: string };
    const another = { ...order, caller: { username, ...other } };
    for (const again of [await dispatcher.run(another), await dispatcher.submit(another)]) {
      const error = failure(again);
      expect(error).toMatchObject({ code: 'idempotency_mismatch', field: 'caller' });
      expect(error.message).not.toMatch(/s3cret|order 66|run 1/);
    }
    expect(value(await dispatcher.run({ ...order, caller: first })).results[0]?.stdout).toBe('run 1\n');
    expect(agent.runs()).toBe(1);
    expect(eventsOf(control.events, 'repeat')).toHaveLength(1);
  });

  it('with another token while the first is under way does not wait for it', async () => {
    const late = deferred();
    const agent = await counting('web-01', unknown, late.promise);
    const begun = deferred<string>();
    const first = dispatcher.run({ ...order, onBegin: begun.resolve });
    await begun.promise;
    const told: string[] = [];
    const stolen = {
      ...order,
      caller: { ...caller, token: 'stolen' },
      onBegin: (id: string) => told.push(id),
    };
    expect(failure(await dispatcher.run(stolen))).toMatchObject({ field: 'caller' });
    late.resolve();
    value(await first);
    expect({ told, runs: agent.runs() }).toEqual({ told: [], runs: 1 });
  });

  it('as a retry with another token is refused', async () => {
    const agent = await counting('web-01');
    const { idempotencyKey: _, ...once } = order;
    const { reqid } = value(await dispatcher.run(once));
    const options = { caller, idempotencyKey: 'again' };
    const retried = value(await dispatcher.retry(reqid, options));
    const other = await dispatcher.retry(reqid, { ...options, caller: { ...caller, token: 'other' } });
    expect(failure(other)).toMatchObject({ code: 'idempotency_mismatch', field: 'caller' });
    expect(value(await dispatcher.retry(reqid, options))).toEqual(retried);
    expect(agent.runs()).toBe(2);
  });

  it('is the same before and after the identity of the dispatcher is rotated', async () => {
    const agent = await counting('web-01');
    const first = value(await dispatcher.run(order));
    value(await fleet.settle(dispatcher.rotate({ insist: true })));
    value(await fleet.settle(dispatcher.maintain()));
    const { 'dispatcher-previous-key': before } = value(
      await control.context.keyStore.read(['dispatcher-previous-key']),
    );
    expect(before).toBeDefined();
    expect(value(await dispatcher.run(order))).toEqual(first);
    const other = await dispatcher.run({ ...order, caller: { ...caller, token: 'other' } });
    expect(failure(other)).toMatchObject({ field: 'caller' });
    expect(agent.runs()).toBe(1);
  });

  it.each([
    ['neither had a token', { username: 'ann' }, { username: 'ann' }, true],
    ['neither had a token or a name', {}, {}, true],
    ['a token now', { username: 'ann' }, caller, false],
    ['a token both times, which cannot be compared', caller, caller, false],
    ['a token then, and no name', { token: 's3cret' }, {}, false],
    ['the same token both times, and no name', { token: 's3cret' }, { token: 's3cret' }, false],
  ])('of a record without a MAC, as an older version wrote it: %s', async (_, then, now, accepted) => {
    const agent = await counting('web-01');
    const { runStore } = control.context;
    const asBefore = (reqid: string, { username = '', token = '' }: Caller) =>
      hex(
        crypto.sha256(lengthPrefixed('ctrl-exec caller v1', reqid, username, username === '' ? token : '')),
      );
    const older = dispatcherOver(
      withPorts(control, {
        runStore: {
          ...runStore,
          begin: ({ idempotency, ...run }, at) =>
            runStore.begin(
              {
                ...run,
                ...(idempotency && {
                  idempotency: { key: idempotency.key, callerDigest: asBefore(run.reqid, then) },
                }),
              },
              at,
            ),
        },
      }),
    );
    const first = value(await older.run({ ...order, caller: then }));
    const again = await dispatcher.run({ ...order, caller: now });
    if (accepted) expect(value(again)).toEqual(first);
    else expect(failure(again)).toMatchObject({ code: 'idempotency_mismatch', field: 'caller' });
    expect(agent.runs()).toBe(1);
  });

  it('of another user is a run of its own: a key that somebody can guess is not taken from others', async () => {
    const agent = await counting('web-01');
    const first = value(await dispatcher.run({ ...order, args: [] }));
    for (const username of ['bob', 'an', 'anns', '']) {
      const own = value(await dispatcher.run({ ...order, caller: { username, token: 's3cret' } }));
      expect(own.reqid).not.toBe(first.reqid);
    }
    expect(agent.runs()).toBe(5);
  });

  it('is another one in the other mode, and as a retry', async () => {
    await counting('web-01');
    const { reqid } = value(await dispatcher.run(order));
    const submitted = failure(await dispatcher.submit(order));
    expect(submitted).toMatchObject({ code: 'idempotency_mismatch', field: 'mode' });
    const { idempotencyKey } = order;
    const retried = failure(await dispatcher.retry(reqid, { caller, idempotencyKey }));
    expect(retried).toMatchObject({ code: 'idempotency_mismatch', field: 'retryOf' });
  });

  it('is asked about each time, and denied means no answer', async () => {
    await counting('web-01');
    value(await dispatcher.run(order));
    const hook = memoryAuthHook(() => ({ kind: 'exited', code: 3 }));
    const asked = dispatcherOver(withPorts(control, { hook }));
    expect(failure(await asked.run(order)).code).toBe('denied');
    expect(hook.asked).toMatchObject([{ action: 'run', args: ['a'], ...caller }]);
  });

  it('of a retry is the same one, whatever was learnt of the run since', async () => {
    const agent = await counting('web-01');
    const { idempotencyKey: _, ...once } = order;
    const { reqid } = value(await dispatcher.run({ ...once, hosts: ['web-01', 'web-02'] }));
    const options = { caller, idempotencyKey: 'again' };
    const first = value(await dispatcher.retry(reqid, options));
    const fine = first.results.map((result) => ({ ...result, state: 'succeeded', exit: 0, reqid }) as const);
    value(await control.context.runStore.settle(reqid, fine, 1));
    expect(value(await dispatcher.retry(reqid, options))).toEqual(first);
    expect(agent.runs()).toBe(2);
  });
});

describe('a key', () => {
  it.each(['', 'x'.repeat(256), 'a\nb', 'a\0', 'schlüssel', '\u{1f511}', 'a\x7f', 5 as never, {} as never])(
    'that is none is refused before anybody is asked',
    async (idempotencyKey) => {
      const hook = memoryAuthHook(() => ({ kind: 'exited', code: 0 }));
      const asked = dispatcherOver(withPorts(control, { hook }));
      const error = failure(await asked.run({ ...order, idempotencyKey }));
      expect(error).toMatchObject({ code: 'invalid_argument', field: 'idempotencyKey' });
      expect(hook.asked).toEqual([]);
    },
  );

  it.each([' ', "'; DROP TABLE runs; --", '__proto__', '~'.repeat(255)])(
    'is a text like any other',
    async (key) => {
      const agent = await counting('web-01');
      for (let time = 0; time < 2; time += 1) value(await dispatcher.run({ ...order, idempotencyKey: key }));
      expect(agent.runs()).toBe(1);
    },
  );

  it('is not used by what was denied, locked or malformed', async () => {
    const late = deferred();
    const agent = await counting('web-01', unknown, late.promise);
    control.hook = { kind: 'exited', code: 3 };
    expect(failure(await dispatcher.run(order)).code).toBe('denied');
    control.hook = { kind: 'none' };
    expect(failure(await dispatcher.run({ ...order, timeout: 0 })).code).toBe('invalid_argument');
    const { idempotencyKey: _, ...other } = order;
    const begun = deferred();
    const busy = dispatcher.run({ ...other, onBegin: () => begun.resolve() });
    await begun.promise;
    const locked = await fleet.settle(dispatcher.run(order));
    expect(failure(locked).code).toBe('locked');
    late.resolve();
    await busy;
    expect((await dispatcher.run({ ...order, script: 'other' })).isOk()).toBe(true);
    expect(agent.runs()).toBe(2);
  });

  it('keeps no token, neither in the record nor in a log', async () => {
    await counting('web-01');
    const { reqid } = value(await dispatcher.run(order));
    await dispatcher.run(order);
    const record = value(await control.context.runStore.find(reqid));
    expect(JSON.stringify([record, control.events.events])).not.toContain('s3cret');
    const { reqid: other } = value(await dispatcher.run({ ...order, idempotencyKey: 'other' }));
    const salted = value(await control.context.runStore.find(other));
    expect(salted?.idempotency?.callerDigest).not.toBe(record?.idempotency?.callerDigest);
    expect(salted?.idempotency?.tokenMac).not.toBe(record?.idempotency?.tokenMac);
  });

  it('keeps of the token what nobody without the key of the dispatcher can try guesses on', async () => {
    await counting('web-01');
    const { reqid } = value(await dispatcher.run(order));
    const { tokenMac } = value(await control.context.runStore.find(reqid))?.idempotency ?? {};
    const message = lengthPrefixed('ctrl-exec token v1', reqid, caller.token);
    const { 'dispatcher-key': key = '' } = value(await control.context.keyStore.read(['dispatcher-key']));
    const withKey = (secret: string) =>
      hex(
        crypto.hmacSha256(
          crypto.hkdfSha256(utf8(secret), new Uint8Array(), utf8('ctrl-exec token mac v1'), 32),
          message,
        ),
      );
    expect(tokenMac).toBe(withKey(key));
    for (const guess of [hex(crypto.sha256(message)), hex(crypto.sha256(utf8(caller.token))), withKey('')])
      expect(tokenMac).not.toBe(guess);
  });

  it('is free again when its run is forgotten', async () => {
    const agent = await counting('web-01');
    value(await dispatcher.run(order));
    value(
      await control.context.runStore.purge({
        endedBefore: 0,
        startedBefore: fleet.clock.now() + 1,
        silentBefore: 0,
      }),
    );
    value(await dispatcher.run(order));
    expect(agent.runs()).toBe(2);
  });
});

describe('a first process that was killed', () => {
  it('once its run was recorded and no host contacted: nothing is run, and each host says so', async () => {
    const agent = await counting('web-01');
    const reqid = await killedAfterRecording();
    const again = value(await fleet.settle(dispatcher.run(order)));
    expect(again).toMatchObject({
      reqid,
      results: [{ host: 'web-01', state: 'unreachable', error: expect.stringContaining('did not reach') }],
    });
    expect(value(await dispatcher.run(order))).toEqual(again);
    expect(agent.runs()).toBe(0);
    // What the caller does who knows that: a retry, or a fresh key.
    value(await dispatcher.retry(reqid));
    expect(agent.runs()).toBe(1);
  });

  it('after a host had begun: its agent says how it ended, when it has', async () => {
    let said: object = { status: 'running' };
    const agent = await counting('web-01', () => jsonAnswer(200, said));
    const reqid = await killedAfterRecording();
    const again = dispatcher.run(order);
    await fleet.clock.advance(600);
    said = { status: 'done', exit: 7, stdout: 'out', stderr: '' };
    const { results } = value(await fleet.settle(again));
    expect(results).toMatchObject([{ host: 'web-01', exit: 7, stdout: 'out', reqid }]);
    expect(agent.runs()).toBe(0);
  });

  it('where no agent can tell, its host is unknown in the end, and told of when it is heard', async () => {
    const gone = errorOf('connection_refused', 'nobody there', { host: 'web-01', port: 7443 });
    await killedAfterRecording();
    const channel = interposed(control.context.channel, { connect: () => errAsync(gone) });
    const cut = dispatcherOver(withPorts(control, { channel }));
    const { results } = value(await fleet.settle(cut.run(order)));
    expect(results).toMatchObject([{ host: 'web-01', exit: -1, state: 'unknown' }]);
    expect(results[0]).not.toHaveProperty('fetchError');
    await counting('web-01', () => jsonAnswer(200, { status: 'done', exit: 0, stdout: '', stderr: '' }));
    expect(value(await dispatcher.run(order)).results).toMatchObject([{ exit: 0 }]);
  });

  it('while it submitted: what its agents know, and no second submission', async () => {
    const agent = await counting('web-01');
    const reqid = await killedAfterRecording('async');
    const again = value(await fleet.settle(dispatcher.submit(order)));
    expect(again).toMatchObject({
      reqid,
      results: [{ host: 'web-01', state: 'unreachable', status: 'error' }],
    });
    expect(value(await dispatcher.submit(order))).toEqual(again);
    expect(agent.runs()).toBe(0);
  });
});

it.each(['run', 'submit'] as const)(
  'a repetition of %s whose caller has left stops waiting, and what was begun goes on',
  async (mode) => {
    const asked = deferred();
    const answer = deferred();
    await scriptedAgent(fleet, control, 'web-01', async ({ body }) => {
      asked.resolve();
      await answer.promise;
      if (body['async']) return jsonAnswer(202, { status: 'accepted', reqid: body['reqid'] });
      return jsonAnswer(200, { exit: 0, stdout: '', stderr: '', reqid: body['reqid'] });
    });
    const leaving = new AbortController();
    const request = { ...order, repeatSignal: leaving.signal };
    const first = dispatcher[mode](request);
    await asked.promise;
    const again = dispatcher[mode](request);
    leaving.abort();
    expect(failure(await again).code).toBe('aborted');
    answer.resolve();
    expect(value<{ readonly results: readonly unknown[] }>(await first).results).toHaveLength(1);
  },
);
