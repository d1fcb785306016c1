import { afterEach, describe, expect, test, vi } from 'vitest';
import { manualClock } from '../../src/adapters/memory/clock.js';
import { systemClock } from '../../src/adapters/system/clock.js';
import { clockContract } from './clock.contract.js';

clockContract('manual', () => {
  const clock = manualClock(1_700_000_000_000);
  return { clock, pass: clock.advance };
});

clockContract('system', () => {
  const clock = systemClock();
  return { clock, pass: (ms) => new Promise((resolve) => clock.after(ms, resolve)) };
});

describe('manual clock', () => {
  test('stands still until it is advanced, and then by exactly that much', async () => {
    const clock = manualClock(1_000);
    expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0]);
    await clock.advance(250);
    expect([clock.now(), clock.monotonic()]).toEqual([1_250, 250]);
    expect(manualClock().now()).toBe(0);
  });

  test('each callback sees its own moment, and what it sets going runs before the next', async () => {
    const clock = manualClock();
    const seen: string[] = [];
    clock.after(10, () => {
      void Promise.resolve()
        .then(() => undefined)
        .then(() => seen.push(`after the first, at ${clock.now()}`));
    });
    clock.after(20, () => seen.push(`second at ${clock.now()}`));
    await clock.advance(20);
    expect(seen).toEqual(['after the first, at 10', 'second at 20']);
  });

  test('a callback one millisecond beyond the advance waits for the next', async () => {
    const clock = manualClock();
    const called = vi.fn();
    clock.after(11, called);
    await clock.advance(10);
    expect(called).not.toHaveBeenCalled();
    await clock.advance(1);
    expect(called).toHaveBeenCalledOnce();
  });
});

describe('system clock', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test('now is that of the system', () => {
    const before = Date.now();
    const now = systemClock().now();
    expect(now).toBeGreaterThanOrEqual(before);
    expect(now).toBeLessThanOrEqual(Date.now());
  });

  test('a timer that fires a moment early is waited out', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const reading = vi.spyOn(performance, 'now').mockReturnValue(100);
    const called = vi.fn();
    systemClock().after(10, called);
    reading.mockReturnValue(109.6);
    vi.advanceTimersByTime(10);
    expect(called).not.toHaveBeenCalled();
    reading.mockReturnValue(110.6);
    vi.advanceTimersByTime(1);
    expect(called).toHaveBeenCalledOnce();
    reading.mockRestore();
  });

  test('a delay of 60 days is kept to the millisecond', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
    const called = vi.fn();
    const days60 = 60 * 86_400_000;
    systemClock().after(days60, called);
    await vi.advanceTimersByTimeAsync(days60 - 1);
    expect(called).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(called).toHaveBeenCalledOnce();
  });

  test('a delay of 60 days can be cancelled after 30', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
    const called = vi.fn();
    const cancel = systemClock().after(60 * 86_400_000, called);
    await vi.advanceTimersByTimeAsync(30 * 86_400_000);
    cancel();
    await vi.advanceTimersByTimeAsync(40 * 86_400_000);
    expect(called).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  });
});
