import { errAsync, okAsync } from 'neverthrow';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { lookEveryMinute } from '../../../../../src/apps/api/serve/every-minute.js';
import { failure } from '../../../../../src/domain/core/errors.js';
import type { LogEvent } from '../../../../../src/domain/core/event.js';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it('looks about every minute, goes on after a failure that it logs, and ends when it is told', async () => {
  const logged: LogEvent[] = [];
  let looks = 0;
  let offers = 0;
  const broken = failure('store_failed', 'the disk is full', { operation: 'run.list', reason: 'full' });
  const stop = lookEveryMinute({
    dispatcher: () => ({
      settleRuns: () => {
        looks += 1;
        return looks === 2 ? errAsync(broken) : okAsync({ settled: [], failed: [] });
      },
      offerRevocations: () => {
        offers += 1;
        return okAsync({ told: [], pending: [] });
      },
    }),
    events: { emit: (event) => logged.push(event) },
  });
  await vi.advanceTimersByTimeAsync(53_000);
  expect(looks).toBe(0);
  await vi.advanceTimersByTimeAsync(600_000);
  expect(looks).toBeGreaterThanOrEqual(9);
  expect(looks).toBeLessThanOrEqual(12);
  expect(offers).toBe(looks);
  expect(logged.map(({ action, fields }) => [action, 'reason' in fields && fields.reason])).toEqual([
    ['maintenance-failed', 'the disk is full'],
  ]);
  const before = looks;
  stop();
  await vi.advanceTimersByTimeAsync(600_000);
  expect(looks).toBe(before);
});
