import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import { memoryRunStore, runTable } from '../../../../../src/adapters/memory/run-store.js';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import type { Dispatcher } from '../../../../../src/sdk/dispatcher/dispatcher.js';
import { failure, value } from '../../../../contract/result.js';
import { settling } from '../../../../support/fleet/begun-runs.js';
import {
  type Answering,
  dispatcherOver,
  scriptedAgent,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
import {
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
  ({ fleet, control } = await identifiedFleet());
  dispatcher = control.dispatcher;
});

const order = { hosts: ['web-01', 'web-02', 'web-03'], script: 'job', args: ['a', 'b c'] };

/** An agent whose script exits so, one exit after the other, the last one for good. */
const exiting =
  (...exits: number[]): Answering =>
  ({ path, body: { reqid } }) => {
    if (path.startsWith('/result/')) return jsonAnswer(404, { status: 'unknown' });
    const exit = exits.length > 1 ? exits.shift() : exits[0];
    return jsonAnswer(200, { exit, stdout: '', stderr: '', reqid });
  };
const agent = (name: string, answer: Answering) => scriptedAgent(fleet, control, name, answer);
const hostsOf = (results: readonly { readonly host: string }[]) => results.map(({ host }) => host);

describe('a retry', () => {
  it('runs the same script with the same arguments where it failed, and nowhere else', async () => {
    const fine = await agent('web-01', exiting(0));
    const wrong = await agent('web-02', exiting(3, 0));
    // web-03 is not there.
    const first = value(await dispatcher.run(order));
    const again = value(await dispatcher.retry(first.reqid));
    expect(hostsOf(again.results)).toEqual(['web-02', 'web-03']);
    expect(again.reqid).not.toBe(first.reqid);
    expect(fine.seen).toHaveLength(1);
    expect(wrong.seen[1]?.body).toMatchObject({ script: 'job', args: order.args, reqid: again.reqid });
    const { runs } = value(await dispatcher.runs());
    expect(runs.find(({ reqid }) => reqid === again.reqid)).toMatchObject({ retryOf: first.reqid });
    // It can be retried itself, on what it was for.
    await agent('web-03', exiting(0));
    const last = value(await dispatcher.retry(again.reqid));
    expect(hostsOf(last.results)).toEqual(['web-03']);
    expect(failure(await dispatcher.retry(last.reqid))).toMatchObject({
      code: 'invalid_argument',
      field: 'reqid',
    });
  });

  it('can be left to the agents, and follows a run that was', async () => {
    const accepting = (result: object) =>
      settling(
        ({ body: { reqid } }) => jsonAnswer(202, { status: 'accepted', reqid }),
        () => result,
      );
    const done = { stdout: '', stderr: '' };
    await agent('web-01', accepting({ ...done, status: 'done', exit: 0 }));
    await agent('web-02', accepting({ ...done, status: 'done', exit: 1 }));
    await agent('web-03', accepting({ ...done, status: 'cancelled', exit: 143 }));
    const { reqid } = value(await dispatcher.submit(order));
    const told: string[] = [];
    const onResult = ({ status }: { readonly status: string }) => void told.push(status);
    const again = value(await dispatcher.retry(reqid, { async: true, onResult }));
    expect(hostsOf(again.results)).toEqual(['web-02', 'web-03']);
    expect(told).toEqual(['accepted', 'accepted']);
  });

  it.each(['here', 'in another process'])('waits for nobody while it still runs %s', async (where) => {
    const late = deferred();
    await agent('web-01', async (request) => {
      if (request.path === '/run') await late.promise;
      return exiting(1)(request);
    });
    const begun = deferred<string>();
    const table = runTable();
    const process = () => dispatcherOver(withPorts(control, { runStore: memoryRunStore(table) }));
    const first = process();
    const running = first.run({ ...order, hosts: ['web-01'], onBegin: begun.resolve });
    const reqid = await begun.promise;
    const other = where === 'here' ? first : process();
    const error = failure(await other.retry(reqid));
    expect(error).toMatchObject({ code: 'not_ready', id: reqid, state: 'running' });
    late.resolve();
    await running;
    expect((await other.retry(reqid)).isOk()).toBe(true);
  });

  it('is refused while a script goes on of which no end was heard, or nobody can tell', async () => {
    let said: object = { status: 'running' };
    const nonsense = () => jsonAnswer(200, { nonsense: true });
    const answering = settling(nonsense, () => said);
    const { seen } = await agent('web-01', answering);
    const { reqid, results } = value(await dispatcher.run({ ...order, hosts: ['web-01'] }));
    expect(results).toMatchObject([{ state: 'running', failure: { code: 'protocol_violation' } }]);
    const notReady = { code: 'not_ready', id: reqid, state: 'running' };
    expect(failure(await dispatcher.retry(reqid))).toMatchObject(notReady);
    const gone = errorOf('connection_refused', 'web-01 refuses', { host: 'web-01', port: 7443 });
    const channel = interposed(control.context.channel, { connect: () => errAsync(gone) });
    const cut = dispatcherOver(withPorts(control, { channel }));
    expect(failure(await cut.retry(reqid))).toMatchObject({
      ...notReady,
      message: expect.stringContaining('web-01 (web-01 refuses)'),
    });
    said = { status: 'done', exit: 0, stdout: '', stderr: '' };
    expect(failure(await dispatcher.retry(reqid)).code).toBe('invalid_argument');
    expect(seen.filter(({ path }) => path === '/run')).toHaveLength(1);
  });

  it('needs a run that is known, with its arguments', async () => {
    const unknown = failure(await dispatcher.retry('a'.repeat(16)));
    expect(unknown.code).toBe('run_unknown');
    expect(failure(await dispatcher.retry('../x')).code).toBe('invalid_argument');
    await agent('web-01', exiting(1));
    const { reqid } = value(await dispatcher.run({ ...order, hosts: ['web-01'] }));
    const { runStore } = control.context;
    const older = dispatcherOver(
      withPorts(control, {
        runStore: {
          ...runStore,
          find: (id) => runStore.find(id).map((run) => run && { ...run, args: undefined }),
        },
      }),
    );
    const error = failure(await older.retry(reqid));
    expect(error).toMatchObject({ code: 'invalid_argument', message: expect.stringContaining('arguments') });
  });

  it('is asked about as a status of that run, and as a run of its caller with those arguments', async () => {
    await agent('web-01', exiting(1));
    const ann = { username: 'ann', sourceIp: '192.0.2.1' };
    const { reqid } = value(await dispatcher.run({ ...order, hosts: ['web-01'], caller: ann }));
    let code = 0;
    const hook = memoryAuthHook(({ action }) => ({ kind: 'exited', code: action === 'run' ? code : 0 }));
    const asked = dispatcherOver(withPorts(control, { hook }));
    const caller = { username: 'bob', token: 't' };
    value(await asked.retry(reqid, { caller }));
    expect(hook.asked).toMatchObject([
      { action: 'status', run: { reqid, submitter: 'ann' }, username: 'bob' },
      { action: 'run', hosts: ['web-01'], args: order.args, username: 'bob', token: 't' },
    ]);
    code = 3;
    expect(failure(await asked.retry(reqid, { caller })).code).toBe('denied');
  });
});
