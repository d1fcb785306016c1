import { describe, expect, it } from 'vitest';
import { jobBoard } from '../../../../../src/sdk/deploy/pull/job-board.js';

/** Jobs that end when they are told to, and what happened so far. */
function jobs() {
  const log: string[] = [];
  const ends = new Map<string, () => void>();
  const work = (id: string) => () => {
    log.push(`+${id}`);
    return new Promise<void>((resolve) => {
      ends.set(id, () => {
        log.push(`-${id}`);
        resolve();
      });
    });
  };
  const end = async (id: string) => {
    ends.get(id)?.();
    await new Promise(setImmediate);
  };
  return { log, work, end };
}
const noBug = (thrown: unknown) => {
  throw thrown;
};

describe('the board of jobs', () => {
  it('does the jobs of one lane one after the other, in their order', async () => {
    const { log, work, end } = jobs();
    const board = jobBoard(noBug, 10);
    for (const id of ['a', 'b', 'c']) board.add(id, 'lane', work(id));
    expect(log).toEqual(['+a']);
    await end('a');
    await end('b');
    await end('c');
    expect(log).toEqual(['+a', '-a', '+b', '-b', '+c', '-c']);
  });

  it('does a hundred of different lanes, and those without one, side by side', () => {
    const { log, work } = jobs();
    const board = jobBoard(noBug, 128);
    for (let job = 0; job < 100; job += 1)
      board.add(`${job}`, job % 2 ? `lane ${job}` : undefined, work(`${job}`));
    expect(log).toHaveLength(100);
  });

  it('does not begin more than the limit, and a lane that waits holds up no other', async () => {
    const { log, work, end } = jobs();
    const board = jobBoard(noBug, 2);
    board.add('a', 'one', work('a'));
    board.add('b', 'one', work('b'));
    board.add('c', 'two', work('c'));
    board.add('d', undefined, work('d'));
    expect(log).toEqual(['+a', '+c']);
    await end('c');
    expect(log.at(-1)).toBe('+d');
    await end('a');
    expect(log.at(-1)).toBe('+b');
  });

  it('takes a job once until it is done, and then again', async () => {
    const { log, work, end } = jobs();
    const board = jobBoard(noBug, 10);
    board.add('a', undefined, work('a'));
    board.add('a', undefined, work('a'));
    await end('a');
    board.add('a', undefined, work('a'));
    expect(log).toEqual(['+a', '-a', '+a']);
  });

  it('counts what waits, and tells of the end of each job', async () => {
    const { work, end } = jobs();
    const board = jobBoard(noBug, 1);
    const first = board.add('a', undefined, work('a'));
    const second = board.add('b', undefined, work('b'));
    expect([board.waiting(), board.add('b', undefined, work('b'))]).toEqual([1, undefined]);
    await end('a');
    await first;
    expect(board.waiting()).toBe(0);
    await end('b');
    await second;
  });

  it('takes ten thousand jobs, and does them in their order', async () => {
    const done: number[] = [];
    const board = jobBoard(noBug);
    for (let job = 0; job < 10_000; job += 1)
      void board.add(`${job}`, undefined, async () => {
        await new Promise(setImmediate);
        done.push(job);
      });
    expect(board.waiting()).toBe(10_000 - 64);
    await board.settled();
    expect(done).toEqual(Array.from({ length: 10_000 }, (_, job) => job));
  });

  it('settles when all is done, or given up', async () => {
    const { work, end } = jobs();
    const board = jobBoard(noBug, 10);
    await board.settled();
    board.add('a', 'lane', work('a'));
    board.add('b', 'lane', work('b'));
    let settled = false;
    const all = board.settled().then(() => {
      settled = true;
    });
    board.clear();
    await new Promise(setImmediate);
    expect(settled).toBe(false);
    await end('a');
    await all;
  });

  it('a bug in a job ends that job, and nothing else', async () => {
    const bugs: unknown[] = [];
    const board = jobBoard((bug) => bugs.push(bug), 10);
    const { log, work, end } = jobs();
    board.add('a', 'lane', async () => {
      throw new Error('bug');
    });
    board.add('b', 'lane', work('b'));
    await new Promise(setImmediate);
    expect([bugs.length, log]).toEqual([1, ['+b']]);
    await end('b');
    await board.settled();
  });
});
