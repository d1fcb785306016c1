import { beforeEach, describe, expect, it } from 'vitest';
import { utf8 } from '../../../../../src/domain/core/bytes.js';
import { type HttpAnswer, jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { endLine, outputLine, streamType } from '../../../../../src/domain/protocol/output-stream.js';
import type { RunEvent } from '../../../../../src/sdk/dispatcher/runs/follow.js';
import { signStreamEnd } from '../../../../../src/sdk/protocol/message-signing.js';
import { failure, value } from '../../../../contract/result.js';
import { locksOf, settling } from '../../../../support/fleet/begun-runs.js';
import { issueAgent, scriptedAgent, signedBy, signerOf } from '../../../../support/fleet/memory-agents.js';
import {
  crypto,
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { deferred } from '../../../../support/network/network.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet('read_timeout = 50'));
});

const order = { hosts: ['web-01'], script: 'job' };

/** An agent that streams so many lines, and counts those that were taken of it; `before` is awaited before each. */
async function streaming(name: string, count: number, before: (line: number) => unknown = () => {}) {
  const issued = await issueAgent(control, name);
  let given = 0;
  let reqid: unknown;
  await scriptedAgent(
    fleet,
    control,
    name,
    settling(
      (request) => {
        reqid = request.body['reqid'];
        return jsonAnswer(200, {});
      },
      () => ({ status: 'running' }),
    ),
    {
      issued,
      sign: (plain, request): HttpAnswer => {
        if (request.path !== '/run')
          return signedBy(signerOf(issued.credentials), () => fleet.clock.now())(plain, request);
        async function* lines() {
          const all: Uint8Array[] = [];
          for (let line = 0; line < count; line += 1) {
            await before(line);
            all.push(outputLine('stdout', utf8(`${name} ${line}\n`)));
            given += 1;
            yield all.at(-1) ?? new Uint8Array();
          }
          const result = { script: 'job', exit: 0, stdout: 'all', stderr: '', reqid };
          const end = { result, linesSha256: crypto.sha256(Buffer.concat(all)) };
          yield endLine(signStreamEnd(crypto, signerOf(issued.credentials), end, request, fleet.clock.now()));
        }
        const headers = [['content-type', streamType]] as const;
        return { status: 200, headers, body: new Uint8Array(), stream: lines() };
      },
    },
  );
  return { given: () => given };
}

const shown = (event: RunEvent): string => {
  if (event.kind === 'output')
    return `${event.host} ${event.stream} ${Buffer.from(event.bytes).toString().trim()}`;
  if (event.kind === 'result') return `result ${event.result.host} ${event.result.exit}`;
  return event.kind;
};
const held = () => locksOf(control);

describe('a run that is followed by a loop', () => {
  it('tells its beginning, its output, its results and its end, and is what its outcome says', async () => {
    await streaming('web-01', 2);
    const followed = control.dispatcher.stream(order);
    const events: RunEvent[] = [];
    for await (const event of followed) events.push(event);
    expect(events.map(shown)).toEqual([
      'begin',
      'web-01 stdout web-01 0',
      'web-01 stdout web-01 1',
      'result web-01 0',
      'end',
    ]);
    const run = value(await followed.outcome);
    expect(events.at(-1)).toEqual({ kind: 'end', run });
    expect(events[0]).toEqual({ kind: 'begin', reqid: run.reqid });
    for await (const event of followed) expect(event).toBe('nothing more');
  });

  it('waits for its reader, of each host with one piece', async () => {
    const hosts = ['web-01', 'web-02'];
    const agents = [await streaming('web-01', 50), await streaming('web-02', 50)];
    const followed = control.dispatcher.stream({ ...order, hosts });
    const events = followed[Symbol.asyncIterator]();
    expect((await events.next()).value).toMatchObject({ kind: 'begin' });
    expect((await events.next()).value).toMatchObject({ kind: 'output' });
    await fleet.clock.advance(1000);
    for (const { given } of agents) expect(given()).toBeLessThan(10);
    let more = 0;
    for (let next = await events.next(); !next.done; next = await events.next()) more += 1;
    expect(more).toBe(99 + 2 + 1);
    expect(value(await followed.outcome).results).toMatchObject([{ exit: 0 }, { exit: 0 }]);
  });

  it.each(['break', 'throw'])('goes on where the loop is left by %s', async (how) => {
    const agent = await streaming('web-01', 50);
    const followed = control.dispatcher.stream(order);
    const loop = async () => {
      for await (const event of followed) {
        if (event.kind !== 'output') continue;
        if (how === 'throw') throw new Error('enough');
        break;
      }
    };
    if (how === 'throw') await expect(loop()).rejects.toThrow('enough');
    else await loop();
    expect(value(await followed.outcome).results).toMatchObject([{ exit: 0 }]);
    expect(agent.given()).toBe(50);
    expect(await held()).toEqual([]);
    for await (const event of followed) expect(event).toBe('nothing more');
  });

  it('that nobody ever reads is followed no more after 20 s, and ends with its result', async () => {
    const agent = await streaming('web-01', 50);
    const followed = control.dispatcher.stream(order);
    await fleet.clock.advance(19_000);
    expect(agent.given()).toBeLessThan(10);
    expect(await held()).toHaveLength(1);
    await fleet.clock.advance(2000);
    expect(value(await followed.outcome).results).toMatchObject([{ exit: 0, stdout: 'all' }]);
    for await (const event of followed) expect(event).toBe('nothing more');
    expect(await held()).toEqual([]);
  });

  it('is borne for as long as its reader takes something', async () => {
    await streaming('web-01', 5);
    const events = control.dispatcher.stream(order)[Symbol.asyncIterator]();
    const kinds: string[] = [];
    for (let next = await events.next(); !next.done; next = await events.next()) {
      kinds.push(next.value.kind);
      await fleet.clock.advance(19_000);
    }
    expect(kinds).toEqual(['begin', ...Array(5).fill('output'), 'result', 'end']);
  });

  it('does not hold a reader to anything while nothing waits but news', async () => {
    const quiet = deferred();
    await streaming('web-01', 1, () => quiet.promise);
    const followed = control.dispatcher.stream(order);
    await fleet.clock.advance(40_000);
    quiet.resolve();
    const kinds: string[] = [];
    for await (const { kind } of followed) kinds.push(kind);
    expect(kinds).toEqual(['begin', 'output', 'result', 'end']);
  });

  it('ends by its signal, also where nobody reads, with what is known', async () => {
    await streaming('web-01', 50);
    const stop = new AbortController();
    const followed = control.dispatcher.stream({ ...order, signal: stop.signal });
    await fleet.clock.advance(1000);
    stop.abort();
    const { results } = value(await followed.outcome);
    expect(results).toMatchObject([{ state: 'running', exit: -1, failure: { code: 'aborted' } }]);
    const kinds: string[] = [];
    for await (const { kind } of followed) kinds.push(kind);
    expect(kinds.slice(-2)).toEqual(['result', 'end']);
    expect(await held()).toEqual(['web-01:job']);
  });

  it('ends with the dispatcher, although nobody reads', async () => {
    await streaming('web-01', 50);
    const followed = control.dispatcher.stream(order);
    await fleet.clock.advance(1000);
    await control.dispatcher.close();
    expect(value(await followed.outcome).results).toMatchObject([{ state: 'unknown', exit: -1 }]);
  });

  it('that cannot begin ends without a word but in its outcome', async () => {
    control.hook = { kind: 'exited', code: 3 };
    const followed = control.dispatcher.stream(order);
    for await (const event of followed) expect(event).toBe('nothing');
    expect(failure(await followed.outcome).code).toBe('denied');
  });

  it('has readers that asked before there was anything', async () => {
    await streaming('web-01', 1);
    const events = control.dispatcher.stream(order)[Symbol.asyncIterator]();
    const all = await Promise.all(Array.from({ length: 6 }, () => events.next()));
    expect(all.map(({ done, value }) => (done ? 'over' : value.kind))).toEqual([
      'begin',
      'output',
      'result',
      'end',
      'over',
      'over',
    ]);
  });

  it('again under an idempotency key has the results of the first, without output', async () => {
    await streaming('web-01', 2);
    const keyed = { ...order, idempotencyKey: 'k' };
    const first = value(await fleet.settle(control.dispatcher.stream(keyed).outcome));
    const kinds: string[] = [];
    for await (const event of control.dispatcher.stream(keyed)) {
      kinds.push(event.kind);
      if (event.kind === 'end') expect(event.run).toEqual(first);
    }
    expect(kinds).toEqual(['begin', 'result', 'end']);
  });
});
