import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type AgentRuns, type KnownRun, voidLife } from '../../src/ports/agent-runs.js';
import { failure, value } from './result.js';

/** An empty store for one test. */
export interface AgentRunsSubject {
  readonly runs: AgentRuns;
  /** Called after the test. */
  dispose(): Promise<void>;
}

const key = (reqid: string, owner = 'dispatcher-1') => ({ owner, reqid });
const bytes = (text: string) => new TextEncoder().encode(text);

/**
 * What holds for every `AgentRuns`. `create` makes an empty store with 8 places, 3 voids of one owner and room for 100 bytes of
 * answers, on this monotonic clock.
 */
export function agentRunsContract(
  name: string,
  create: (monotonic: () => number) => Promise<AgentRunsSubject>,
): void {
  describe(`agent runs contract: ${name}`, () => {
    let subject: AgentRunsSubject;
    let runs: AgentRuns;
    let now: number;
    beforeEach(async () => {
      now = 1_000_000;
      subject = await create(() => now);
      runs = subject.runs;
    });
    afterEach(() => subject.dispose());

    const begin = async (reqid: string, startedAt = 1000, owner?: string) =>
      value(await runs.begin(key(reqid, owner), 'backup', startedAt));
    const end = async (reqid: string, answer: string, finishedAt = 2000) =>
      value(await runs.end(key(reqid), finishedAt, bytes(answer)));
    const find = async (reqid: string, owner?: string) => value(await runs.find(key(reqid, owner)));
    const settle = async (reqid: string, owner?: string) => value(await runs.settle(key(reqid, owner)));
    const purge = async (before: number) => value(await runs.purge(before));
    const answerOf = (run: KnownRun | undefined) =>
      run?.state === 'done' && run.answer !== undefined ? new TextDecoder().decode(run.answer) : undefined;

    it('a run that nobody began is unknown', async () => {
      expect(await find('r1')).toBeUndefined();
    });

    it('a run begins once and is running until it ends', async () => {
      expect(await begin('r1')).toEqual({ kind: 'begun' });
      const run = { state: 'running', script: 'backup', startedAt: 1000 };
      expect(await begin('r1', 1500)).toEqual({ kind: 'known', run });
      expect(await find('r1')).toEqual(run);
    });

    it('a run that ended is known with its answer', async () => {
      await begin('r1');
      await end('r1', '{"exit":0}');
      const run = {
        state: 'done',
        script: 'backup',
        startedAt: 1000,
        finishedAt: 2000,
        answer: bytes('{"exit":0}'),
      };
      expect(await find('r1')).toEqual(run);
      expect(await begin('r1', 3000)).toEqual({ kind: 'known', run });
    });

    it('an empty answer is an answer', async () => {
      await begin('r1');
      await end('r1', '');
      expect(answerOf(await find('r1'))).toBe('');
    });

    it('the answer is what it was when the run ended', async () => {
      await begin('r1');
      const answer = bytes('before');
      value(await runs.end(key('r1'), 2000, answer));
      answer.fill(0);
      const found = await find('r1');
      if (found?.state === 'done') found.answer?.fill(0);
      expect(answerOf(await find('r1'))).toBe('before');
    });

    it('a run belongs to the dispatcher that began it, and names do not run into each other', async () => {
      expect(await begin('bc', 1, 'a')).toEqual({ kind: 'begun' });
      expect(await find('bc', 'other')).toBeUndefined();
      expect(await begin('c', 2, 'ab')).toEqual({ kind: 'begun' });
      expect(await find('bc', 'a')).toMatchObject({ startedAt: 1 });
    });

    it('names cannot reach anything outside', async () => {
      for (const reqid of ['../../escape', '/etc/passwd', '', '.', 'a\0b']) {
        expect(await begin(reqid)).toEqual({ kind: 'begun' });
        await end(reqid, reqid);
        expect(answerOf(await find(reqid))).toBe(reqid);
        expect(await purge(5000)).toBe(1);
      }
    });

    it('of many that begin one run at once exactly one does', async () => {
      const claims = await Promise.all(Array.from({ length: 20 }, (_, index) => begin(`r${index % 2}`)));
      expect(claims.filter(({ kind }) => kind === 'begun')).toHaveLength(2);
      expect(claims.filter(({ kind }) => kind === 'known')).toHaveLength(18);
    });

    it('a run ends once; what never ran cannot end', async () => {
      expect(failure(await runs.end(key('r1'), 2000, bytes('x'))).code).toBe('file_failed');
      await begin('r1');
      const ends = await Promise.all(['a', 'b'].map((answer) => runs.end(key('r1'), 2000, bytes(answer))));
      expect(ends.map((each) => each.isOk())).toEqual([true, false]);
      expect(answerOf(await find('r1'))).toBe('a');
    });

    it('a store that is full takes no further run and forgets none', async () => {
      for (const reqid of ['r1', 'r2', 'r3', 'r4']) expect(await begin(reqid)).toEqual({ kind: 'begun' });
      for (const reqid of ['r1', 'r2', 'r3', 'r4'])
        expect(await begin(reqid, 1000, 'other')).toEqual({ kind: 'begun' });
      await end('r1', 'x');
      expect(await begin('r1', 1000, 'third')).toEqual({ kind: 'full' });
      expect(await settle('r2', 'third')).toEqual({ kind: 'full' });
      expect(await begin('r1')).toMatchObject({ kind: 'known' });
      expect(await purge(5000)).toBe(1);
      expect(await begin('r1', 1000, 'third')).toEqual({ kind: 'begun' });
    });

    it('one owner has at most half of the places, and the others have the rest', async () => {
      for (const reqid of ['r1', 'r2', 'r3']) expect(await begin(reqid)).toEqual({ kind: 'begun' });
      expect(await settle('v1')).toMatchObject({ kind: 'void' });
      expect(await begin('r4')).toEqual({ kind: 'full' });
      expect(await settle('v2')).toEqual({ kind: 'full' });
      expect(await find('v2')).toBeUndefined();
      expect(await settle('v1')).toMatchObject({ kind: 'void' });
      expect(await begin('r4', 1000, 'other')).toEqual({ kind: 'begun' });
      await end('r1', 'x');
      expect(await purge(5000)).toBe(1);
      expect(await begin('r4')).toEqual({ kind: 'begun' });
    });

    it('an id that nobody began is void once it is settled, and is never begun', async () => {
      expect(await settle('r1')).toMatchObject({ kind: 'void' });
      expect(await find('r1')).toEqual({ state: 'void' });
      expect(await begin('r1')).toEqual({ kind: 'known', run: { state: 'void' } });
      expect(await settle('r1')).toMatchObject({ kind: 'void' });
      expect((await runs.end(key('r1'), 2000, bytes('x'))).isErr()).toBe(true);
    });

    it('a void is of its owner alone', async () => {
      await settle('r1');
      expect(await find('r1', 'other')).toBeUndefined();
      expect(await begin('r1', 1000, 'other')).toEqual({ kind: 'begun' });
    });

    it('a run that was begun is settled by what is known of it', async () => {
      await begin('r1');
      expect(await settle('r1')).toEqual({
        kind: 'known',
        run: { state: 'running', script: 'backup', startedAt: 1000 },
      });
      await end('r1', 'x');
      expect(await settle('r1')).toMatchObject({ kind: 'known', run: { state: 'done', answer: bytes('x') } });
    });

    it('of those that begin and settle one id at once the first decides for all', async () => {
      for (const isFirst of [true, false]) {
        const reqid = `r${isFirst}`;
        const all = Array.from({ length: 10 }, (_, index) =>
          (index % 2 === 0) === isFirst ? begin(reqid) : settle(reqid),
        );
        const kinds = (await Promise.all(all)).map(({ kind }) => kind);
        expect(kinds.filter((kind) => kind === 'begun')).toHaveLength(isFirst ? 1 : 0);
        expect(kinds.filter((kind) => kind === 'void')).toHaveLength(isFirst ? 0 : 5);
      }
    });

    it('one owner has so many voids, and more when they are old; runs are none of them', async () => {
      await begin('r1');
      for (const reqid of ['v1', 'v2', 'v3']) expect(await settle(reqid)).toMatchObject({ kind: 'void' });
      await purge(500);
      expect(await settle('v4', 'other')).toMatchObject({ kind: 'void' });
      now += voidLife - 1;
      await purge(Number.MAX_SAFE_INTEGER);
      expect(await find('v1')).toEqual({ state: 'void' });
      await settle('v3');
      now += 2;
      expect(await purge(500)).toBe(3);
      expect(await find('v1')).toBeUndefined();
      expect(await find('v3')).toEqual({ state: 'void' });
      expect(await settle('v4')).toMatchObject({ kind: 'void' });
    });

    it('voids leave room for runs, up to their own limit', async () => {
      for (const reqid of ['v1', 'v2', 'v3']) await settle(reqid);
      expect(await settle('v4')).toEqual({ kind: 'full' });
      expect(await begin('v4')).toEqual({ kind: 'begun' });
    });

    it('is complete since it was opened, and since the youngest run of this owner that was forgotten', async () => {
      expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 0 });
      now += 1000;
      expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 1000 });
      await begin('old', 1);
      await end('old', 'x');
      now += 50;
      await begin('young', 2);
      await end('young', 'x');
      now += 200;
      expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 1250 });
      await purge(2);
      expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 250 });
      await purge(3);
      expect(await settle('v1')).toEqual({ kind: 'void', completeFor: 200 });
      expect(await settle('v1', 'other')).toEqual({ kind: 'void', completeFor: 1250 });
    });

    it('a void that is forgotten is no claim that is', async () => {
      await settle('v1');
      now += voidLife + 1;
      expect(await purge(0)).toBe(1);
      expect(await settle('v2')).toEqual({ kind: 'void', completeFor: voidLife + 1 });
    });

    it('what began before a moment and is not running is forgotten', async () => {
      await begin('old', 1000);
      await begin('young', 3000);
      await begin('running', 1000);
      await end('old', 'x');
      await end('young', 'y', 4000);
      expect(await purge(3000)).toBe(1);
      expect(await purge(3000)).toBe(0);
      expect(await find('old')).toBeUndefined();
      expect(answerOf(await find('young'))).toBe('y');
      expect(await find('running')).toMatchObject({ state: 'running' });
      expect(await begin('old', 5000)).toEqual({ kind: 'begun' });
    });

    it('the oldest answers make room for new ones and leave their runs done', async () => {
      for (const reqid of ['r1', 'r2', 'r3']) {
        await begin(reqid);
        await end(reqid, reqid.repeat(20));
      }
      expect(await find('r1')).toMatchObject({ state: 'done', answer: undefined });
      expect(await begin('r1')).toMatchObject({ kind: 'known', run: { state: 'done' } });
      expect(answerOf(await find('r2'))).toBe('r2'.repeat(20));
      expect(answerOf(await find('r3'))).toBe('r3'.repeat(20));
    });

    it('an answer that is larger than all the room is not kept and drops no other', async () => {
      await begin('r1');
      await end('r1', 'small');
      await begin('r2');
      await end('r2', 'x'.repeat(101));
      expect(await find('r2')).toMatchObject({ state: 'done', answer: undefined });
      expect(answerOf(await find('r1'))).toBe('small');
    });

    it('what was purged gives its room back', async () => {
      await begin('r1', 1000);
      await end('r1', 'x'.repeat(100));
      await begin('r2', 2000);
      await purge(2000);
      await end('r2', 'y'.repeat(100));
      expect(answerOf(await find('r2'))).toBe('y'.repeat(100));
      await begin('r3');
      await end('r3', '');
      expect(answerOf(await find('r2'))).toBe('y'.repeat(100));
    });
  });
}
