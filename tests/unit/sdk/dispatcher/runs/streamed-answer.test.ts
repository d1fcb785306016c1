import { beforeEach, describe, expect, it } from 'vitest';
import { utf8 } from '../../../../../src/domain/core/bytes.js';
import { type HttpAnswer, jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import {
  endLine,
  idleLine,
  outputLine,
  streamType,
} from '../../../../../src/domain/protocol/output-stream.js';
import type { IncomingRequest } from '../../../../../src/ports/listener.js';
import { following, type OutputPiece } from '../../../../../src/sdk/dispatcher/runs/following.js';
import { type Signer, signStreamEnd } from '../../../../../src/sdk/protocol/message-signing.js';
import { value } from '../../../../contract/result.js';
import { locksOf, type Said, settling } from '../../../../support/fleet/begun-runs.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  dispatcherOver,
  enrol,
  issueAgent,
  scriptedAgent,
  signedBy,
  signerOf,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
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

/** What an agent does with a request to stream: the lines, and how it would sign their end. */
interface Streaming {
  readonly request: IncomingRequest;
  /** The end line as it should be, after these lines. */
  end(lines: readonly Uint8Array[], result?: object): Uint8Array;
}

async function* inTurn(lines: readonly Uint8Array[]) {
  yield* lines;
}

const streamOf = (stream: AsyncIterable<Uint8Array>): HttpAnswer => ({
  status: 200,
  headers: [['content-type', streamType]],
  body: new Uint8Array(),
  stream,
});

/** An agent that answers as it likes. */
async function streamingAgent(
  answer: (streaming: Streaming) => HttpAnswer | Promise<HttpAnswer>,
  name = 'web-01',
  said?: Said,
) {
  const issued = await issueAgent(control, name);
  const signer = signerOf(issued.credentials);
  return scriptedAgent(
    fleet,
    control,
    name,
    settling(() => jsonAnswer(200, {}), said),
    {
      issued,
      sign: (plain, request) => {
        if (request.path !== '/run') return signedBy(signer, () => fleet.clock.now())(plain, request);
        const { body } = made.seen.at(-1) ?? { body: {} };
        const result = { script: 'job', exit: 0, stdout: 'all\n', stderr: '', reqid: body['reqid'] };
        const streaming: Streaming = {
          request,
          end: (lines, more = {}) => endOf(signer, request, lines, { ...result, ...more }),
        };
        return answer(streaming) as HttpAnswer;
      },
    },
  ).then((agent) => {
    made.seen = agent.seen;
    return agent;
  });
}
const made: { seen: readonly { readonly body: Record<string, unknown> }[] } = { seen: [] };

function endOf(
  signer: Signer,
  request: IncomingRequest,
  lines: readonly Uint8Array[],
  result: Readonly<Record<string, unknown>>,
): Uint8Array {
  const linesSha256 = crypto.sha256(Buffer.concat(lines));
  return endLine(signStreamEnd(crypto, signer, { result, linesSha256 }, request, fleet.clock.now()));
}

const text = (pieces: readonly OutputPiece[]) =>
  pieces.map(({ stream, bytes }) => `${stream}:${Buffer.from(bytes).toString()}`);

const lines = [
  outputLine('stdout', utf8('a\n')),
  idleLine(),
  outputLine('stderr', Uint8Array.of(0xff, 10)),
  outputLine('stdout', utf8('b')),
];

async function follow(context = control.context, more = {}) {
  const pieces: OutputPiece[] = [];
  const outcome = await dispatcherOver(context).run({
    ...order,
    ...more,
    onOutput: (piece) => void pieces.push(piece),
  });
  const { reqid, results } = value(outcome);
  const [result] = results;
  const stored = value(await control.context.runStore.find(reqid));
  return { pieces, result, stored: stored?.results[0] };
}

describe('a run that is followed', () => {
  it('is asked for as such, gives every piece in its order, and then the result of the end line', async () => {
    const agent = await streamingAgent(({ end }) => streamOf(inTurn([...lines, end(lines)])));
    const { pieces, result, stored } = await follow();
    expect(agent.seen[0]?.body).toMatchObject({ stream: true });
    expect(text(pieces)).toEqual(['stdout:a\n', 'stderr:\ufffd\n', 'stdout:b']);
    expect(pieces.every(({ host }) => host === 'web-01')).toBe(true);
    expect(result).toMatchObject({ exit: 0, stdout: 'all\n', stderr: '' });
    expect(result).toMatchObject({ state: 'succeeded' });
    expect(stored).toEqual(result);
  });

  it('does not ask for a stream where nobody wants its output', async () => {
    const agent = await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(200, { exit: 0 }));
    value(await control.dispatcher.run(order));
    expect(agent.seen[0]?.body).not.toHaveProperty('stream');
  });

  it('of an agent that does not stream has its result all the same', async () => {
    await scriptedAgent(fleet, control, 'web-01', ({ body }) =>
      jsonAnswer(200, { exit: 3, stdout: 'plain', stderr: '', reqid: body['reqid'] }),
    );
    const { pieces, result } = await follow();
    expect(pieces).toEqual([]);
    expect(result).toMatchObject({ exit: 3, stdout: 'plain' });
  });

  it('of a real agent streams what the script writes', async () => {
    const agent = fleet.agent('web-01');
    await enrol(control, agent, 'web-01');
    value(await agent.agent.serve());
    const pieces: OutputPiece[] = [];
    const outcome = await fleet.settle(
      control.dispatcher.run({
        hosts: ['web-01'],
        script: 'greet',
        args: ['x'],
        onOutput: (piece) => void pieces.push(piece),
      }),
    );
    expect(value(outcome).results).toMatchObject([{ exit: 0, stdout: 'hello x' }]);
    expect(text(pieces).join('')).toContain('hello x');
  });

  it('waits for whoever takes the output, host by host', async () => {
    const hosts = ['web-01', 'web-02'];
    for (const name of hosts)
      await streamingAgent(({ end }) => streamOf(inTurn([...lines, end(lines)])), name);
    const [slow, other] = [deferred(), deferred()];
    const given: string[] = [];
    const outcome = control.dispatcher.run({
      ...order,
      hosts,
      onOutput: async ({ host }) => {
        given.push(host);
        if (host === 'web-01') await slow.promise;
        else if (given.filter((each) => each === host).length === 3) other.resolve();
      },
    });
    await other.promise;
    expect(given.filter((host) => host === 'web-01')).toHaveLength(1);
    slow.resolve();
    value(await outcome);
    expect(given).toHaveLength(6);
  });

  it('goes on to its result where whoever takes the output throws, which is passed on at the end', async () => {
    await streamingAgent(({ end }) => streamOf(inTurn([...lines, end(lines)])));
    const bug = new Error('a bug');
    let calls = 0;
    const outcome = control.dispatcher.run({
      ...order,
      onOutput: () => {
        calls += 1;
        throw bug;
      },
    });
    await expect(Promise.resolve(outcome)).rejects.toBe(bug);
    expect(calls).toBe(1);
    const [ended] = eventsOf(control.events, 'run-result');
    expect(ended?.fields).toMatchObject({ exit: 0 });
    expect(await locksOf(control)).toEqual([]);
  });
});

describe('a stream that nobody vouches for is no result, and nothing of it is kept', () => {
  const forged = outputLine('stdout', utf8('forged'));
  it.each<[string, (streaming: Streaming) => readonly Uint8Array[], string]>([
    ['stops without an end line', () => lines, 'it stopped before its end line'],
    ['is empty', () => [], 'it stopped before its end line'],
    ['lacks a line that its end vouches for', ({ end }) => [...lines.slice(1), end(lines)], 'digest'],
    ['has a line more', ({ end }) => [...lines, forged, end(lines)], 'digest'],
    ['has its lines in another order', ({ end }) => [...lines.toReversed(), end(lines)], 'digest'],
    ['goes on after its end', ({ end }) => [...lines, end(lines), forged], 'follows its end'],
    ['is no stream at all', () => [utf8('{"exit":0}\nhello\n')], 'one of its lines'],
    [
      'has another result than was signed',
      ({ end }) => {
        const honest = Buffer.from(end(lines)).toString();
        return [...lines, utf8(honest.replace('"exit":0', '"exit":7'))];
      },
      'signature does not hold',
    ],
    [
      'has a signature that was changed',
      ({ end }) => [
        ...lines,
        utf8(Buffer.from(end(lines)).toString().replace('"signature":"cx=:', '$&AAAA')),
      ],
      'sig',
    ],
  ])('where it %s', async (_what, make, reason) => {
    await streamingAgent((streaming) => streamOf(inTurn(make(streaming))));
    const { result, stored } = await follow();
    expect(result).toMatchObject({
      exit: -1,
      error: 'unverified result',
      failure: { code: 'forgotten' },
      stdout: '',
      stderr: '',
      state: 'unknown',
    });
    expect(stored).toEqual(result);
    const logged = eventsOf(control.events, 'result-unverified');
    expect(logged).toHaveLength(1);
    expect(logged[0]?.fields.reason).toContain(reason);
  });

  it('where it is that of another run, byte for byte', async () => {
    let first: Uint8Array | undefined;
    await streamingAgent(({ end }) => {
      first ??= end(lines, { reqid: undefined });
      return streamOf(inTurn([...lines, first]));
    });
    expect((await follow()).result).toMatchObject({ exit: 0 });
    expect((await follow()).result).toMatchObject({ exit: -1, error: 'unverified result', stdout: '' });
  });

  it('where its end is signed by another key of the CA', async () => {
    const other = signerOf((await issueAgent(control, 'web-09')).credentials);
    await streamingAgent(({ request }) =>
      streamOf(inTurn([...lines, endOf(other, request, lines, { exit: 0, stdout: '', stderr: '' })])),
    );
    const { result } = await follow();
    expect(result).toMatchObject({ exit: -1, error: 'unverified result' });
  });

  it('where its result is about another run', async () => {
    await streamingAgent(({ end }) => streamOf(inTurn([...lines, end(lines, { reqid: 'other' })])));
    const { result } = await follow();
    expect(result).toMatchObject({
      exit: -1,
      error: expect.stringContaining('another request'),
      state: 'unknown',
    });
  });

  it('also of an agent that need not sign', async () => {
    await streamingAgent(() => streamOf(inTurn([...lines, utf8('{"t":"end","result":{"exit":0}}\n')])));
    const settings = { ...control.context.settings, allowLegacyAgents: '*' } as const;
    const { result } = await follow(withPorts(control, { settings }));
    expect(result).toMatchObject({ exit: -1, error: 'unverified result' });
  });

  it('where the connection breaks before its end, which may still be fetched', async () => {
    async function* broken() {
      yield* lines;
      throw new Error('it breaks');
    }
    await streamingAgent(() => streamOf(broken()));
    const { pieces, result, stored } = await follow();
    expect(pieces).toHaveLength(3);
    expect(result).toMatchObject({ exit: -1, stdout: '', state: 'unknown' });
    expect(result?.error).toContain('closed');
    expect(stored).toEqual(result);
  });
});

it('what has ended as it must counts, however the connection ends after that', async () => {
  async function* stream(last: Uint8Array) {
    yield* lines;
    yield last;
    throw new Error('it breaks');
  }
  await streamingAgent(({ end }) => streamOf(stream(end(lines))));
  const { result } = await follow();
  expect(result).toMatchObject({ exit: 0, stdout: 'all\n' });
});

describe('an agent that streams for ever', () => {
  let pieces = 0;

  async function* endless(piece = outputLine('stdout', utf8('x\n'))) {
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      yield piece;
    }
  }

  /** Follows it; `onPiece` is called with how many pieces have come. */
  async function followed(
    more = {},
    onPiece: (count: number, reqid: string) => unknown = () => {},
    step = 100,
  ) {
    await streamingAgent(
      () => streamOf(endless()),
      'web-01',
      () => ({ status: 'running' }),
    );
    let reqid = '';
    pieces = 0;
    const { results } = value(
      await fleet.settle(
        control.dispatcher.run({
          ...order,
          onBegin: (id) => {
            reqid = id;
          },
          onOutput: () => {
            pieces += 1;
            onPiece(pieces, reqid);
          },
          ...more,
        }),
        step,
      ),
    );
    const stored = value(await control.context.runStore.find(reqid));
    return { result: results[0], stored };
  }

  it('is given up once the timeout of the run has passed, and 5 s', async () => {
    const { result, stored } = await followed({ timeout: 60 });
    expect(result).toMatchObject({ state: 'running', exit: -1, error: 'read timeout after 65s' });
    expect(stored).toMatchObject({ underWay: false, results: [{ state: 'running' }] });
  });

  it('is given up after 24 hours where the run has no timeout', async () => {
    const { result, stored } = await followed({}, undefined, 5000);
    expect(result).toMatchObject({ exit: -1, error: 'read timeout after 86400s' });
    expect(stored).toMatchObject({ underWay: false, completedAt: undefined });
  }, 60_000);

  it('is given up 10 s after the run was cancelled, whatever it says to that', async () => {
    let cancelled: unknown;
    const { result } = await followed({}, (count, reqid) => {
      if (count === 3) cancelled = control.dispatcher.cancel(reqid);
    });
    expect(result).toMatchObject({ state: 'running', error: 'read timeout after 10s' });
    await cancelled;
  });

  it('is left when nobody follows any more, and the end of the run is fetched later', async () => {
    const gone = new AbortController();
    const { result, stored } = await followed({ detachSignal: gone.signal }, (count) => {
      if (count === 3) gone.abort();
    });
    expect(pieces).toBe(3);
    expect(result).toMatchObject({ state: 'running', failure: { code: 'aborted' } });
    expect(stored).toMatchObject({ underWay: false, completedAt: undefined });
  });
});

it('of one host 1 GiB of output is handed on, and the result comes all the same', async () => {
  const size = 64 * 1024;
  const piece = outputLine('stdout', utf8('x'.repeat(size)));
  const limit = 1024 ** 3 / size;
  let handed = 0;
  const which = { reqid: 'a', host: 'web-01' };
  const { options, over } = following(
    control.context,
    which,
    {
      onOutput: () => {
        handed += 1;
      },
    },
    'sync',
  );
  const bytes = piece.subarray(0, size);
  for (let count = 0; count < limit + 3; count += 1) await options.onOutput?.({ stream: 'stdout', bytes });
  over();
  expect(handed).toBe(limit);
  expect(options.signal?.aborted).toBe(false);
});

it('a host that does not stream is waited for although nobody follows any more', async () => {
  const gone = new AbortController();
  await scriptedAgent(fleet, control, 'web-01', async ({ body }) => {
    gone.abort();
    return jsonAnswer(200, { exit: 0, stdout: 'plain', stderr: '', reqid: body['reqid'] });
  });
  const { result } = await follow(control.context, { detachSignal: gone.signal });
  expect(result).toMatchObject({ state: 'succeeded', stdout: 'plain' });
});
