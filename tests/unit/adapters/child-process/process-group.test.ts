import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { groupTermination } from '../../../../src/adapters/child-process/process-group.js';
import { later } from '../../../../src/adapters/child-process/timer.js';

const gone = Object.assign(new Error('no such process'), { code: 'ESRCH' });

describe('terminating a group', () => {
  let alive = true;
  let sent: [number, string | number | undefined][] = [];

  beforeEach(() => {
    alive = true;
    sent = [];
    vi.useFakeTimers();
    vi.spyOn(process, 'kill').mockImplementation((pid, signal) => {
      if (!alive) throw gone;
      if (signal !== 0) sent.push([pid, signal]);
      return true;
    });
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });

  test('is SIGTERM, then SIGKILL to what is left, to the group and not to its leader alone', () => {
    const termination = groupTermination(4242, 5_000);
    termination.begin();
    termination.begin();
    termination.leaderEnded();
    vi.advanceTimersByTime(4_999);
    expect(sent).toEqual([[-4242, 'SIGTERM']]);
    vi.advanceTimersByTime(1);
    expect(sent).toEqual([
      [-4242, 'SIGTERM'],
      [-4242, 'SIGKILL'],
    ]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('never hits a stranger that got the number of a group that is empty', () => {
    const termination = groupTermination(4242, 5_000);
    termination.begin();
    termination.leaderEnded();
    vi.advanceTimersByTime(1_000);
    alive = false;
    vi.advanceTimersByTime(50);
    alive = true;
    vi.advanceTimersByTime(10_000);
    expect(sent).toEqual([[-4242, 'SIGTERM']]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is over with its leader when nobody else is in the group', () => {
    const termination = groupTermination(4242, 5_000);
    termination.begin();
    alive = false;
    termination.leaderEnded();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('does nothing once the leader has ended by itself', () => {
    const termination = groupTermination(4242, 5_000);
    termination.leaderEnded();
    termination.begin();
    vi.advanceTimersByTime(10_000);
    expect(sent).toEqual([]);
  });
});

describe('a delay beyond 24.8 days', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test('is kept', () => {
    vi.useFakeTimers();
    const called = vi.fn();
    later(60 * 86_400_000, called);
    vi.advanceTimersByTime(60 * 86_400_000 - 1);
    expect(called).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(called).toHaveBeenCalledOnce();
  });
});
