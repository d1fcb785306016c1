import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { type CtrlExecError, failure } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import type { HostState } from '../../../../../src/domain/runs/host-result.js';
import type { ChannelError } from '../../../../../src/ports/channel.js';
import type { DispatcherContext } from '../../../../../src/sdk/dispatcher/context.js';
import { run } from '../../../../../src/sdk/dispatcher/runs/run.js';
import type { CallError } from '../../../../../src/sdk/protocol/client.js';
import { value } from '../../../../contract/result.js';
import { endingOnce, locksOf, type Said, settling } from '../../../../support/fleet/begun-runs.js';
import { type Answering, scriptedAgent } from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { interposed } from '../../../../support/network/interposed.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
});

/** What an agent says that is asked what became of the run. */
const words = {
  running: () => ({ status: 'running' }),
  done: () => ({ status: 'done', exit: 3, stdout: 'x', stderr: '' }),
  cancelled: () => ({ status: 'cancelled', exit: 126, stdout: '', stderr: '' }),
  lost: () => ({ status: 'lost' }),
  'void, proved': () => ({ status: 'void', complete_since: fleet.clock.now() - 60_000 }),
  'void, not proved': () => ({ status: 'void', complete_since: fleet.clock.now() - 59_999 }),
  'no more questions': () => ({ status: 'unknown' }),
  'no records': () => undefined,
  'nothing at all': () => undefined,
} satisfies Record<string, Said>;
type Word = keyof typeof words;
const everyWord = Object.keys(words) as Word[];

type Lock = 'free' | 'held';
type Row = readonly [HostState, CtrlExecError['code'], string | undefined, Lock];

/** How the run stands on the host, and what became of its lock. */
async function rowOf(context: DispatcherContext): Promise<Row> {
  const { results } = value(await run(context, { hosts: ['web-01'], script: 'greet' }));
  const [result] = results;
  if (!result?.failure) throw new Error('no failure');
  const held = (await locksOf(control)).length > 0;
  expect(result.settledAt !== undefined).toBe(!held);
  return [result.state, result.failure.code, result.error, held ? 'held' : 'free'];
}

/** From when the run was sent on nobody can be reached. */
function cut(context: DispatcherContext): DispatcherContext {
  const gone = failure('connection_refused', 'nothing listens', { host: 'web-01', port: 7443 });
  const channel = interposed(context.channel, {
    exchange: (_target, { path }, send) => (path === '/run' ? send() : errAsync({ ...gone, sent: false })),
  });
  return { ...context, channel };
}

/** The row where the agent is asked after `error`, by what it says then. */
function asked(error: CtrlExecError, text: string, word: Word): Row {
  const { code } = error;
  const reached = code === 'timed_out' || code === 'connection_failed';
  const never: Row = ['unreachable', reached ? code : 'connection_failed', text, 'free'];
  const aborted: Row = ['skipped', 'skipped', 'stopped by the caller before it began', 'free'];
  const rows: Record<Word, Row> = {
    running: ['running', code, text, 'held'],
    done: ['failed', 'script_failed', undefined, 'free'],
    cancelled: ['cancelled', 'cancelled', 'cancelled', 'free'],
    lost: ['lost', 'lost', 'lost', 'free'],
    'void, proved': code === 'aborted' ? aborted : never,
    'void, not proved': ['unknown', 'forgotten', text, 'free'],
    'no more questions': ['unknown', code, text, 'held'],
    'no records': ['unknown', 'forgotten', text, 'held'],
    'nothing at all': ['unknown', code, text, 'held'],
  };
  return rows[word];
}

const host = 'web-01';
const reason = 'why';
const errors: readonly CallError[] = [
  failure('host_unresolved', 'no such host', { host }),
  failure('connection_refused', 'nothing listens', { host, port: 7443 }),
  failure('connection_failed', 'it broke', { host, reason }),
  failure('timed_out', 'no TCP', { phase: 'connect', timeoutMs: 10_000 }),
  failure('timed_out', 'no TLS', { phase: 'tls', timeoutMs: 10_000 }),
  failure('timed_out', 'no answer', { phase: 'answer', timeoutMs: 60_000 }),
  failure('tls_failed', 'no TLS', { host, reason }),
  failure('wrong_identity', 'wrong identity', { expected: 'a', found: 'b' }),
  failure('unpinned', 'not pinned', { name: host, found: 'b' }),
  failure('revoked', 'revoked', { name: host, serial: '1' }),
  failure('unverified', 'unverified result', { reason }),
  failure('protocol_violation', 'not understood', { reason }),
  failure('too_large', 'too large', { what: 'answer', limit: 5 }),
  failure('store_failed', 'disk full', { operation: 'read', reason }),
  failure('denied', 'denied', { who: 'hook', reason, hookCode: 1 }),
  failure('aborted', 'stopped by the caller', {}),
];
const textOf = (error: CallError) =>
  error.code === 'timed_out' && error.phase === 'answer' ? 'read timeout after 60s' : error.message;

const success: Answering = ({ body: { reqid } }) =>
  jsonAnswer(200, { exit: 0, stdout: '', stderr: '', reqid });
const agent = (answer: Answering, word: Word) =>
  scriptedAgent(fleet, control, host, settling(answer, words[word]));

describe('a request that was not sent', () => {
  const outOfReach = new Set(['unverified', 'protocol_violation', 'too_large']);
  const rowFor = (error: CallError): Row => {
    const { code } = error;
    if (code === 'denied') return ['denied', code, 'denied', 'free'];
    if (code === 'aborted') return ['skipped', 'skipped', 'stopped by the caller before it was sent', 'free'];
    if (code === 'store_failed') return ['skipped', 'skipped', 'disk full', 'free'];
    return ['unreachable', outOfReach.has(code) ? 'connection_failed' : code, textOf(error), 'free'];
  };
  it.each(errors)('for $code ($message) is settled, and nobody is asked', async (error) => {
    const { seen } = await agent(success, 'running');
    const context = endingOnce(control.context, error as ChannelError, 'before');
    expect(await rowOf(context)).toEqual(rowFor(error));
    expect(seen).toEqual([]);
  });
});

describe('a request that was sent is what its agent says of it, where it ended by', () => {
  it.each(errors)('$code ($message)', async (error) => {
    let word: Word = 'running';
    const said: Said = (reqid) => (words[word] as Said)(reqid);
    await scriptedAgent(fleet, control, host, settling(success, said));
    for (word of everyWord) {
      const features = word === 'no records' ? [] : ['settle'];
      value(await control.context.registry.note(host, { features }));
      const context = endingOnce(control.context, error as ChannelError);
      const expected: Row =
        error.code === 'denied' ? ['denied', 'denied', 'denied', 'free'] : asked(error, textOf(error), word);
      expect([word, ...(await rowOf(word === 'nothing at all' ? cut(context) : context))]).toEqual([
        word,
        ...expected,
      ]);
      value(await control.context.runStore.release(host, undefined, fleet.clock.now()));
    }
  });
});

describe('an agent that says no is believed, and is not asked', () => {
  it.each<[number, string, HostState, CtrlExecError['code']]>([
    [200, 'script not permitted', 'refused', 'not_allowlisted'],
    [200, 'script already running', 'refused', 'busy'],
    [200, 'not authorised: not at night', 'refused', 'agent_denied'],
    [200, 'in other words', 'refused', 'refused'],
    [200, 'lost: the host went down', 'lost', 'lost'],
    [401, 'replayed', 'refused', 'replayed'],
    [401, 'signature expired', 'refused', 'signature_refused'],
    [403, 'certificate revoked', 'refused', 'refused'],
    [404, 'not found', 'refused', 'refused'],
    [500, 'internal error', 'refused', 'refused'],
    [503, 'busy: 64 runs are under way', 'refused', 'overloaded'],
  ])('%i %s is %s, %s', async (status, error, state, code) => {
    const { seen } = await agent(
      ({ body: { reqid } }) => jsonAnswer(status, { exit: -1, error, reqid }),
      'running',
    );
    expect(await rowOf(control.context)).toEqual([state, code, expect.stringContaining(error), 'free']);
    expect(seen.map(({ path }) => path)).toEqual(['/run']);
  });
});

describe('an answer that says neither yes nor no is asked about, once', () => {
  const answers: readonly [string, Answering, CtrlExecError['code'], RegExp][] = [
    ['409', ({ body: { reqid } }) => jsonAnswer(409, { error: 'twice', reqid }), 'refused', /twice/],
    [
      'of another run',
      () => jsonAnswer(200, { exit: 0, reqid: 'x' }),
      'protocol_violation',
      /another request/,
    ],
    ['without exit', () => jsonAnswer(200, {}), 'protocol_violation', /"exit"/],
  ];
  it.each(answers.flatMap((answer) => everyWord.map((word) => [...answer, word] as const)))(
    '%s %#',
    async (_what, answer, code, text, word) => {
      const { seen } = await agent(answer, word);
      const expected = asked({ code } as CtrlExecError, 'TEXT', word);
      const [state, found, error, lock] = await rowOf(
        word === 'nothing at all' ? cut(control.context) : control.context,
      );
      expect([state, found, lock]).toEqual([expected[0], expected[1], expected[3]]);
      if (expected[2] === 'TEXT') expect(error).toMatch(text);
      const questions = [
        '/capabilities',
        word === 'no records' ? expect.stringMatching(/^.result.[0-9a-f]{16}$/) : '/v2/settle',
      ];
      expect(seen.map(({ path }) => path)).toEqual(['/run', ...(word === 'nothing at all' ? [] : questions)]);
    },
  );
});
