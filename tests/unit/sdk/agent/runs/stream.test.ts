import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { processOutcome } from '../../../../../src/adapters/memory/process-runner.js';
import { nodeCrypto } from '../../../../../src/adapters/node-crypto/crypto.js';
import { type StreamLine, streamReader } from '../../../../../src/domain/protocol/output-stream.js';
import { checkStreamEnd } from '../../../../../src/sdk/protocol/message-signing.js';
import { value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import { gatedProgram } from '../../../../support/fleet/gated-programs.js';
import { type AgentOptions, servingAgent } from '../../../../support/fleet/memory-agents.js';

const crypto = nodeCrypto();
const reqid = 'a3f9b2c100010002';

async function serving(options: AgentOptions = {}) {
  const gate = gatedProgram();
  const agent = await servingAgent({ programs: { '/opt/greet': gate.program }, ...options });
  /** Asks for a stream; `lines` reads on to the end, or until there are as many as asked for. */
  const follow = async (more: object = {}) => {
    const sent = await agent.make({ body: { script: 'greet', reqid, stream: true, ...more } });
    const { answer } = await agent.hand(sent);
    const { stream } = answer;
    if (!stream) throw new Error(`no stream: ${new TextDecoder().decode(answer.body)}`);
    const iterator = stream[Symbol.asyncIterator]();
    const reader = streamReader(crypto.runningSha256(), 16_000_000);
    const lines = async (count = Number.POSITIVE_INFINITY) => {
      const found: StreamLine[] = [];
      while (found.length < count) {
        const next = await iterator.next();
        if (next.done) break;
        found.push(...value(reader.push(next.value)));
      }
      return found;
    };
    const verified = (line: StreamLine | undefined) => {
      if (line?.kind !== 'end') throw new Error('no end line');
      const by = { certificate: sent.peer.presented, now: agent.context.clock.now() };
      value(checkStreamEnd(crypto, answer, line, sent, by));
      return line.result;
    };
    return { answer, iterator, lines, verified, reader };
  };
  const result = async () => (await agent.ask({ method: 'GET', path: `/result/${reqid}` })).json;
  return { ...agent, ...gate, follow, result };
}

const output = (stream: 'stdout' | 'stderr', text: string): StreamLine => ({
  kind: 'output',
  stream,
  bytes: new TextEncoder().encode(text),
});

describe('a streamed run', () => {
  it('gives out what comes as it comes, then its result, signed', async () => {
    const { follow, run } = await serving();
    const { answer, lines, verified } = await follow();
    expect(answer.status).toBe(200);
    expect(answer.headers).toEqual([['content-type', 'application/x-ndjson']]);
    const { print, end } = await run();
    await print('stdout', 'one\n');
    expect(await lines(1)).toEqual([output('stdout', 'one\n')]);
    await print('stderr', 'two\n');
    expect(await lines(1)).toEqual([output('stderr', 'two\n')]);
    end(processOutcome(3));
    const [last, ...more] = await lines();
    expect(more).toEqual([]);
    expect(verified(last)).toEqual({ script: 'greet', reqid, exit: 3, stdout: 'one\n', stderr: 'two\n' });
  });

  it('says every 15 s without output that it goes on', async () => {
    const { follow, run, clock } = await serving();
    const { lines, verified } = await follow();
    const { print, end } = await run();
    await clock.advance(15_000);
    expect(await lines(1)).toEqual([{ kind: 'idle' }]);
    await clock.advance(14_000);
    await print('stdout', 'x');
    await clock.advance(14_000);
    await print('stdout', 'y');
    expect(await lines(2)).toEqual([output('stdout', 'x'), output('stdout', 'y')]);
    await clock.advance(30_000);
    // Not a further one for a reader that has not taken the first.
    expect(await lines(1)).toEqual([{ kind: 'idle' }]);
    end(processOutcome(0));
    verified((await lines()).at(-1));
  });

  it('streams all of its output, and keeps as much as max_output', async () => {
    const { follow, run, result } = await serving({ configuration: 'max_output = 1000\n' });
    const { lines, verified } = await follow();
    const { print, end } = await run();
    const bytes = randomBytes(300_000);
    const reading = lines();
    await print('stdout', bytes);
    end(processOutcome(0));
    const all = await reading;
    const streamed = all.flatMap((line) => (line.kind === 'output' ? [line.bytes] : []));
    expect(Buffer.compare(Buffer.concat(streamed), bytes)).toBe(0);
    expect(verified(all.at(-1))).toMatchObject({ truncated: { stdout: 300_000 } });
    expect(await result()).toMatchObject({ status: 'done', truncated: { stdout: 300_000 } });
  });

  it('slows its program down to the pace of its reader, and holds little', async () => {
    const { follow, run } = await serving();
    const { lines, verified } = await follow();
    const { print, end } = await run();
    let printed = 0;
    const printing = (async () => {
      for (let piece = 0; piece < 100; piece += 1) {
        await print('stdout', 'x'.repeat(64 * 1024));
        printed += 1;
      }
      end(processOutcome(0));
    })();
    // Four lines a piece.
    for (let taken = 0; taken < 100; taken += 1) {
      await lines(4);
      await setImmediate();
      expect(printed - taken).toBeLessThanOrEqual(6);
    }
    await printing;
    verified((await lines()).at(-1));
  });

  it('goes on when its reader goes away, and its result is kept', async () => {
    const { follow, run, result, events } = await serving();
    const { iterator, lines } = await follow();
    const { print, end } = await run();
    await print('stdout', 'one');
    await lines(1);
    await iterator.return?.();
    expect(eventsOf(events, 'run-unfollowed')).toHaveLength(1);
    await print('stdout', 'two');
    expect(await result()).toMatchObject({ status: 'running' });
    end(processOutcome(0));
    await vi.waitFor(async () =>
      expect(await result()).toMatchObject({ status: 'done', exit: 0, stdout: 'onetwo' }),
    );
  });

  it('goes on without a reader that takes nothing, whose stream has no end line', async () => {
    const { follow, run, clock, result } = await serving();
    const { lines, reader } = await follow();
    const { print, end } = await run();
    const printing = print('stdout', 'x'.repeat(1024 * 1024));
    await clock.advance(26_000);
    await printing;
    end(processOutcome(0));
    expect((await lines()).every(({ kind }) => kind === 'output')).toBe(true);
    expect(reader.whyIncomplete()).toBe('it stopped before its end line');
    await vi.waitFor(async () => expect((await result())['stdout']).toHaveLength(1024 * 1024));
  });

  it('waits for a reader that takes little, as long as it takes something', async () => {
    const { follow, run, clock } = await serving();
    const { lines, verified } = await follow();
    const { print, end } = await run();
    let done = false;
    const printing = (async () => {
      for (let piece = 0; piece < 20; piece += 1) await print('stdout', 'x'.repeat(64 * 1024));
      done = true;
    })();
    while (!done) {
      await lines(1);
      await clock.advance(20_000);
    }
    await printing;
    end(processOutcome(0));
    verified((await lines()).at(-1));
  });

  it('that is asked for again is answered with its result, in one', async () => {
    const { follow, run, ask, runs } = await serving();
    const { lines } = await follow();
    const body = { script: 'greet', reqid, stream: true };
    expect(await ask({ body })).toMatchObject({ status: 409, json: { status: 'running', reqid } });
    (await run()).end(processOutcome(0, 'out'));
    await lines();
    expect((await ask({ body })).json).toEqual({
      script: 'greet',
      reqid,
      exit: 0,
      stdout: 'out',
      stderr: '',
    });
    expect(runs).toHaveLength(1);
  });

  it('that is refused is answered as any other', async () => {
    const { ask, policy, make, hand } = await serving();
    expect((await ask({ body: { script: 'other', stream: true } })).json['error']).toBe(
      'script not permitted',
    );
    policy.outcome = { kind: 'exited', code: 1 };
    const denied = await ask({ body: { script: 'greet', stream: true } });
    expect(denied.json['error']).toBe('not authorised: denied');
    policy.outcome = { kind: 'none' };
    const sent = await make({ body: { script: 'greet', stream: true } });
    const { answer } = await hand(sent, '1.0');
    expect(JSON.parse(new TextDecoder().decode(answer.body))).toMatchObject({
      exit: -1,
      error: 'streamed runs need HTTP/1.1',
    });
  });

  it('that is cancelled says so in its end line', async () => {
    const { follow, run, ask } = await serving();
    const { lines, verified } = await follow();
    await run();
    expect((await ask({ path: '/v2/cancel', body: { reqid } })).status).toBe(200);
    expect(verified((await lines()).at(-1))).toMatchObject({ exit: 126, error: 'cancelled' });
  });

  it('has a place until it ends, whether or not somebody reads', async () => {
    const { follow, run, ask } = await serving({ configuration: 'max_runs = 1\n' });
    const { iterator } = await follow();
    await iterator.return?.();
    expect((await ask({ body: { script: 'greet' } })).status).toBe(503);
    (await run()).end();
    await vi.waitFor(async () => expect((await ask({ body: { script: 'other' } })).status).toBe(200));
  });
});
