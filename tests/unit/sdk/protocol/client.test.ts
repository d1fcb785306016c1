import { err, errAsync, ok, okAsync, type Result, ResultAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { manualClock } from '../../../../src/adapters/memory/clock.js';
import { memoryEventLog } from '../../../../src/adapters/memory/event-log.js';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import { failure as failed } from '../../../../src/domain/core/errors.js';
import { type HttpAnswer, jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { targetOf } from '../../../../src/domain/protocol/message-signature.js';
import { endLine, outputLine, streamType } from '../../../../src/domain/protocol/output-stream.js';
import type { Certificate } from '../../../../src/domain/trust/certificate.js';
import type { AnswerHead, BodyConsumer, Channel, Connection } from '../../../../src/ports/channel.js';
import {
  type CallError,
  type CallOptions,
  protocolClient,
  type Shown,
  type Trust,
} from '../../../../src/sdk/protocol/client.js';
import { cancel, ping, run } from '../../../../src/sdk/protocol/endpoints.js';
import type { OutputPiece } from '../../../../src/sdk/protocol/followed-answer.js';
import {
  type RequestOnWire,
  type Signer,
  signAnswer,
  signStreamEnd,
} from '../../../../src/sdk/protocol/message-signing.js';
import { failure, value } from '../../../contract/result.js';

const crypto = nodeCrypto();

async function signerFor(serial: string): Promise<Signer> {
  const key = value(crypto.signingKey(value(await crypto.generateKey('p256'))));
  const certificate: Certificate = {
    pem: '',
    der: utf8(serial),
    spki: key.spki,
    serial,
    commonName: undefined,
    dnsNames: [],
    uris: [],
    notBefore: 0,
    notAfter: Number.MAX_SAFE_INTEGER,
    isCa: false,
    usages: undefined,
  };
  return { key, certificate };
}

const dispatcher = await signerFor('d1');
const agent = await signerFor('a1');

type Answering = (request: RequestOnWire) => HttpAnswer | CallError | Promise<HttpAnswer | CallError>;

/** One connection of the double: its peer, and how its exchange ends. */
interface Planned {
  readonly peer?: Signer;
  readonly kept?: boolean;
  readonly answers?: Answering;
  /** The connection is found closed before a byte was sent. */
  readonly closed?: boolean;
}

const signedPong: Answering = (request) =>
  signAnswer(crypto, agent, jsonAnswer(200, { status: 'ok' }), request, clock.now());

let clock: ReturnType<typeof manualClock>;
let planned: Planned[];
/** What happened to connections, in order. */
let log: string[];
let shown: Shown[];
let events: ReturnType<typeof memoryEventLog>;

beforeEach(() => {
  clock = manualClock();
  planned = [];
  log = [];
  shown = [];
  events = memoryEventLog();
});

function connectionOf({
  peer = agent,
  kept = false,
  answers = signedPong,
  closed = false,
}: Planned): Connection {
  const perform = async (request: Parameters<Connection['exchange']>[0]) => {
    log.push(`ask ${request.path}`);
    const gone = failed('connection_failed', 'closed', { host: 'web-01', reason: 'ECONNRESET' });
    if (closed) return err({ ...gone, sent: false });
    const answer = await answers({ ...request, query: '' });
    if ('code' in answer) return err({ ...answer, sent: true });
    const head: AnswerHead = { status: answer.status, headers: answer.headers };
    const consume = request.onBody?.(head) as BodyConsumer<CallError> | undefined;
    if (!consume) return ok(answer);
    const taken = await consume(answer.body);
    if (taken.isErr()) return err({ ...taken.error, sent: true });
    return ok({ ...answer, body: new Uint8Array() });
  };
  return {
    peer: peer.certificate,
    kept,
    authority: 'web-01:7443',
    exchange: (request) => new ResultAsync(perform(request as never)) as never,
    release: () => void log.push('release'),
    discard: () => void log.push('discard'),
  };
}

const channel: Channel = {
  connect: (_target, { fresh = false }) => {
    log.push(fresh ? 'connect afresh' : 'connect');
    const next = planned.shift();
    return next
      ? okAsync(connectionOf(next))
      : errAsync(failed('connection_refused', 'nobody', { host: 'web-01', port: 7443 }));
  },
  isUnknownHost: async () => false,
  forget: () => undefined,
  close: async () => undefined,
};

const trusting: Trust = {
  judge: () => okAsync(undefined),
  signer: () => dispatcher,
  onVerified(peer, what) {
    shown.push(what);
    return okAsync({
      name: 'web-01',
      spki: peer.spki,
      certificate: peer,
      serial: peer.serial,
      address: '',
      via: 'direct',
    });
  },
};

function calling(trust: Partial<Trust> = {}) {
  const random = { bytes: (count: number) => new Uint8Array(count) };
  const client = protocolClient({ channel, clock, crypto, events, random }, 10_000);
  const target = { host: 'web-01', port: 7443, trust: [], key: 'web-01' };
  const callee = { target, trust: { ...trusting, ...trust }, host: 'web-01:7443' };
  const options: CallOptions = { answerTimeout: 10_000 };
  return {
    ping: (more: Partial<CallOptions> = {}) => client.call(ping, callee, {}, { ...options, ...more }),
    cancel: () => client.call(cancel, callee, { reqid: 'r1' }, options),
    run: (more: Partial<CallOptions> = {}) =>
      client.call(
        run,
        callee,
        { script: 'greet', args: [], reqid: 'r1', username: '', token: '', stream: true },
        { ...options, ...more },
      ),
  };
}

const wrong = failed('wrong_identity', 'wrong identity', { expected: 'web-01', found: 'x' });

describe('a connection', () => {
  it('is judged before anything is sent, and given back after its answer', async () => {
    planned = [{}];
    const { answer, peer } = value(await calling().ping());
    expect(answer.outcome).toBe('pong');
    expect(peer.name).toBe('web-01');
    expect(log).toEqual(['connect', 'ask /ping', 'release']);
    expect(shown).toEqual([{ signed: true, how: 'answered' }]);
  });

  it('that is refused is closed, and nothing was sent', async () => {
    planned = [{}];
    const error = failure(await calling({ judge: () => errAsync(wrong) }).ping());
    expect(error).toEqual(wrong);
    expect(log).toEqual(['connect', 'discard']);
  });

  it('that was kept and is refused is replaced by a fresh one, once', async () => {
    planned = [{ kept: true }, {}];
    let judged = 0;
    const judge = () => {
      judged += 1;
      return judged === 1 ? errAsync(wrong) : okAsync(undefined);
    };
    value(await calling({ judge }).ping());
    expect(log).toEqual(['connect', 'discard', 'connect afresh', 'ask /ping', 'release']);
    planned = [{ kept: true }, {}];
    log = [];
    failure(await calling({ judge: () => errAsync(wrong) }).ping());
    expect(log).toEqual(['connect', 'discard', 'connect afresh', 'discard']);
  });

  it('that was kept and is found closed is replaced by a fresh one, once', async () => {
    planned = [{ kept: true, closed: true }, {}];
    value(
      await calling()
        .cancel()
        .orElse(() => okAsync({})),
    );
    expect(log).toEqual([
      'connect',
      'ask /v2/cancel',
      'discard',
      'connect afresh',
      'ask /v2/cancel',
      'release',
    ]);
    planned = [{ kept: true, closed: true }, { closed: true }, {}];
    log = [];
    expect(failure(await calling().ping()).sent).toBeUndefined();
    expect(log).toEqual(['connect', 'ask /ping', 'discard', 'connect afresh', 'ask /ping', 'discard']);
  });

  it('is judged for every request, by whoever makes it, also where it was kept', async () => {
    planned = [{}, { kept: true }, { kept: true }];
    value(await calling().ping());
    log = [];
    const judged: string[] = [];
    const judge: Trust['judge'] = ({ serial }) => {
      judged.push(serial);
      return okAsync(undefined);
    };
    value(await calling({ judge }).ping());
    expect(judged).toEqual(['a1']);
    const denied = failed('denied', 'not allowed', { who: 'hook', reason: 'denied', hookCode: 1 });
    expect(failure(await calling({ judge: () => errAsync(denied) }).ping())).toEqual(denied);
    // What a fresh one would not show in another light is not asked for again.
    expect(log).toEqual(['connect', 'ask /ping', 'release', 'connect', 'discard']);
  });

  it('gets a request that is signed for the certificate behind it', async () => {
    const targets: string[] = [];
    const answers: Answering = (request) => {
      targets.push(...request.headers.filter(([name]) => name === 'ctrl-exec-target').map(([, id]) => id));
      return signedPong(request);
    };
    planned = [{ kept: true, peer: await signerFor('a0'), closed: true }, { answers }];
    value(await calling().ping());
    expect(targets).toEqual([targetOf(crypto.sha256(agent.certificate.spki))]);
  });

  it('on which something was sent is not replaced: nothing is asked twice', async () => {
    const reset = failed('connection_failed', 'reset', { host: 'web-01', reason: 'ECONNRESET' });
    planned = [{ kept: true, answers: () => reset }, {}];
    expect(failure(await calling().ping())).toEqual({ ...reset, sent: true });
    expect(log).toEqual(['connect', 'ask /ping', 'discard']);
  });

  it('is not made for a caller who has given up, nor asked over once he does', async () => {
    planned = [{}];
    expect(failure(await calling().ping({ signal: AbortSignal.abort() })).code).toBe('aborted');
    expect(log).toEqual([]);
    const stop = new AbortController();
    const judge = () => {
      stop.abort();
      return new ResultAsync<void, CallError>(new Promise(() => undefined));
    };
    expect(failure(await calling({ judge }).ping({ signal: stop.signal })).code).toBe('aborted');
    expect(log).toEqual(['connect', 'discard']);
  });

  it('is closed where whoever judges throws, and the bug is thrown on', async () => {
    planned = [{}];
    const judge = () => {
      throw new TypeError('a bug');
    };
    await expect(calling({ judge }).ping()).rejects.toThrow('a bug');
    expect(log).toEqual(['connect', 'discard']);
  });
});

describe('a decision that takes over a second', () => {
  const later = (delay: number, outcome: Result<void, CallError>) => {
    const decision = new ResultAsync<void, CallError>(
      new Promise((resolve) => void clock.after(delay, () => resolve(outcome))),
    );
    return () => decision;
  };

  it('is waited for without a connection, and the agent is asked over another one', async () => {
    planned = [{}, {}];
    const answered = calling({ judge: later(5_000, ok(undefined)) }).ping();
    await clock.advance(2_000);
    expect(log).toEqual(['connect', 'release']);
    await clock.advance(4_000);
    expect(value(await answered).rtt).toBeLessThan(1_000);
    expect(log).toEqual(['connect', 'release', 'connect', 'ask /ping', 'release']);
  });

  it('and is a no sends nothing', async () => {
    planned = [{}, {}];
    const answered = calling({ judge: later(5_000, err(wrong)) }).ping();
    await clock.advance(6_000);
    expect(failure(await answered)).toEqual(wrong);
    expect(log).toEqual(['connect', 'release']);
  });

  it('ends for the caller who gives up', async () => {
    planned = [{}];
    const stop = new AbortController();
    const answered = calling({ judge: later(60_000, ok(undefined)) }).ping({ signal: stop.signal });
    await clock.advance(2_000);
    stop.abort();
    expect(failure(await answered).code).toBe('aborted');
  });
});

describe('an answer', () => {
  it('whose signature does not hold is not used, and is logged', async () => {
    const forged: Answering = async (request) =>
      signAnswer(crypto, await signerFor('a1'), jsonAnswer(200, { status: 'ok' }), request, clock.now());
    planned = [{ answers: forged }];
    expect(failure(await calling().ping())).toMatchObject({ code: 'unverified', sent: true });
    expect(shown).toEqual([]);
    expect(events.events.map(({ action }) => action)).toEqual(['result-unverified']);
  });

  it('without a signature is what whoever knows the agent makes of it', async () => {
    const unsigned: Answering = () => jsonAnswer(200, { status: 'ok' });
    planned = [{ answers: unsigned }, { answers: unsigned }];
    expect(value(await calling().ping()).answer.outcome).toBe('pong');
    expect(shown).toEqual([{ signed: false, how: 'answered' }]);
    const refusal = failed('unverified', 'it has signed before', { reason: 'it has signed before' });
    const error = failure(await calling({ onVerified: () => errAsync(refusal) }).ping());
    expect(error).toMatchObject({ code: 'unverified', reason: 'it has signed before' });
  });

  it.each([
    ['stranger', 403, 'serial mismatch'],
    ['refused', 404, 'not found'],
  ] as const)('of a %s says so, in the words of the agent', async (how, status, words) => {
    planned = [
      {
        answers: (request) =>
          signAnswer(crypto, agent, jsonAnswer(status, { error: words }), request, clock.now()),
      },
    ];
    expect(failure(await calling().ping())).toMatchObject({ code: 'refused', status, reason: words });
    expect(shown).toEqual([{ signed: true, how }]);
  });
});

describe('a streamed answer', () => {
  const output = outputLine('stdout', utf8('hello'));
  const streamed =
    (tampered = output): Answering =>
    (request) => {
      const result = { exit: 0, stdout: 'hello', stderr: '', reqid: 'r1', script: 'greet' };
      const linesSha256 = crypto.sha256(output);
      const end = signStreamEnd(crypto, agent, { result, linesSha256 }, request, clock.now());
      const body = Buffer.concat([tampered, endLine(end)]);
      return { status: 200, headers: [['content-type', streamType]], body };
    };
  const following = () => {
    const pieces: string[] = [];
    const onOutput = async ({ bytes }: OutputPiece) => void pieces.push(Buffer.from(bytes).toString());
    return { pieces, onOutput };
  };

  it('is given piece by piece, and its end says how the run ended', async () => {
    planned = [{ answers: streamed() }];
    const { pieces, onOutput } = following();
    const { answer } = value(await calling().run({ onOutput }));
    expect(answer).toMatchObject({ outcome: 'ended', result: { exit: 0, stdout: 'hello' } });
    expect(pieces).toEqual(['hello']);
    expect(shown).toEqual([{ signed: true, how: 'answered' }]);
    expect(log).toEqual(['connect', 'ask /run', 'release']);
  });

  it('that was altered is not used', async () => {
    planned = [{ answers: streamed(outputLine('stdout', utf8('altered'))) }];
    const error = failure(await calling().run({ onOutput: following().onOutput }));
    expect(error).toMatchObject({ code: 'unverified', sent: true });
    expect(shown).toEqual([]);
  });

  it('that nobody follows is no answer', async () => {
    planned = [{ answers: streamed() }];
    expect(failure(await calling().run())).toMatchObject({ code: 'protocol_violation', sent: true });
  });
});

describe('an answer with more output than is kept', () => {
  const stdout = 'x'.repeat(300_000);
  const large: Answering = (request) => {
    const body = { script: 'greet', reqid: 'r1', exit: 0, stdout, stderr: 'few' };
    return signAnswer(crypto, agent, jsonAnswer(200, body), request, clock.now());
  };

  it('is cut, and says how much there was', async () => {
    planned = [{ answers: large }];
    const { answer } = value(await calling().run({ maxOutput: 1000 }));
    expect(answer).toMatchObject({
      outcome: 'ended',
      result: { exit: 0, stderr: 'few', truncated: { stdout: 300_000 } },
    });
    expect(answer.outcome === 'ended' && answer.result.stdout.length).toBeLessThan(1100);
    expect(shown).toEqual([{ signed: true, how: 'answered' }]);
  });

  it('is verified over all of its bytes', async () => {
    planned = [
      {
        answers: async (request) => {
          const given = (await large(request)) as HttpAnswer;
          const body = given.body.slice();
          body[200_000] = 0x79;
          return { ...given, body };
        },
      },
    ];
    expect(failure(await calling().run({ maxOutput: 1000 }))).toMatchObject({
      code: 'unverified',
      sent: true,
    });
  });

  it('has a limit in all', async () => {
    const body = new Uint8Array(run.maxAnswer + 1);
    planned = [{ answers: () => ({ status: 200, headers: [], body }) }];
    expect(failure(await calling().run({ maxOutput: 1000 }))).toMatchObject({
      code: 'too_large',
      sent: true,
    });
  });

  it('gives its share of the budget back, however it ends', async () => {
    for (let times = 0; times < 10; times += 1) {
      planned = [
        { answers: times % 2 === 0 ? large : () => ({ status: 200, headers: [], body: utf8(stdout) }) },
      ];
      await calling().run({ maxOutput: 16 * 1024 * 1024 });
    }
    planned = [{ answers: large }];
    expect(value(await calling().run()).answer.outcome).toBe('ended');
  });
});
