import type { ResultAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { manualClock } from '../../../../src/adapters/memory/clock.js';
import type { Clock } from '../../../../src/ports/clock.js';
import { wait } from '../../../../src/sdk/core/wait.js';
import { failure } from '../../../contract/result.js';

/** A clock that knows how many of its timers are set. */
function counting() {
  const clock = manualClock();
  let timers = 0;
  const counted: Clock = {
    ...clock,
    after(delay, callback) {
      timers += 1;
      let over = false;
      const end = () => {
        if (!over) timers -= 1;
        over = true;
      };
      const cancel = clock.after(delay, () => {
        end();
        callback();
      });
      return () => {
        end();
        cancel();
      };
    },
  };
  return { clock, counted, timers: () => timers };
}

const settled = async (promise: ResultAsync<void, unknown>) => {
  let over = false;
  void promise.then(() => {
    over = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return over;
};

describe('wait', () => {
  it('ends when the time has passed, not before', async () => {
    const { clock, counted } = counting();
    const waiting = wait(counted, 1000);
    await clock.advance(999);
    expect(await settled(waiting)).toBe(false);
    await clock.advance(1);
    expect((await waiting).isOk()).toBe(true);
  });

  it('ends at once when the signal comes, and sets no timer after it', async () => {
    const { counted, timers } = counting();
    const stop = new AbortController();
    const waiting = wait(counted, 1000, stop.signal);
    expect(timers()).toBe(1);
    stop.abort();
    expect(failure(await waiting).code).toBe('aborted');
    expect(timers()).toBe(0);
    expect(failure(await wait(counted, 1000, stop.signal)).code).toBe('aborted');
    expect(timers()).toBe(0);
  });

  it('leaves no listener on the signal', async () => {
    const { clock, counted } = counting();
    const stop = new AbortController();
    let listeners = 0;
    const { signal } = stop;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    const waiting = wait(counted, 10, signal);
    expect(listeners).toBe(1);
    await clock.advance(10);
    expect((await waiting).isOk()).toBe(true);
    expect(listeners).toBe(0);
  });
});
