import { describe, expect, test } from 'vitest';
import type { Clock } from '../../src/ports/clock.js';

/** A clock, and a way to let its time pass. */
export interface ClockBinding {
  readonly clock: Clock;
  /** Lets `ms` milliseconds of this clock pass. */
  readonly pass: (ms: number) => Promise<void>;
}

/** What holds for every `Clock`. */
export function clockContract(name: string, make: () => ClockBinding): void {
  describe(`clock: ${name}`, () => {
    const called = (clock: Clock, delay: number) => {
      const at: number[] = [];
      const cancel = clock.after(delay, () => at.push(clock.monotonic()));
      return { at, cancel };
    };

    test('now is a moment in milliseconds that moves on with time', async () => {
      const { clock, pass } = make();
      const before = clock.now();
      await pass(20);
      expect(clock.now()).toBeGreaterThan(before);
    });

    test('monotonic never goes back', async () => {
      const { clock, pass } = make();
      const readings: number[] = [];
      for (let index = 0; index < 5; index += 1) {
        readings.push(clock.monotonic());
        await pass(2);
      }
      expect(readings).toEqual([...readings].sort((one, other) => one - other));
    });

    test('a callback comes once, never before its delay has passed', async () => {
      for (const delay of [0, 1, 5, 20]) {
        const { clock, pass } = make();
        const due = clock.monotonic() + delay;
        const { at } = called(clock, delay);
        await pass(delay + 40);
        expect(at).toHaveLength(1);
        expect(at[0]).toBeGreaterThanOrEqual(due);
      }
    });

    test('a callback is never synchronous', async () => {
      const { clock, pass } = make();
      for (const delay of [0, -5]) {
        const { at } = called(clock, delay);
        expect(at).toHaveLength(0);
        await pass(20);
        expect(at).toHaveLength(1);
      }
    });

    test('a cancelled callback does not come; cancelling again, or too late, does nothing', async () => {
      const { clock, pass } = make();
      const one = called(clock, 5);
      const other = called(clock, 5);
      one.cancel();
      one.cancel();
      await pass(40);
      other.cancel();
      expect([one.at.length, other.at.length]).toEqual([0, 1]);
    });

    test('callbacks come in the order of their moments', async () => {
      const { clock, pass } = make();
      const order: string[] = [];
      clock.after(60, () => order.push('late'));
      clock.after(5, () => {
        order.push('early');
        clock.after(5, () => order.push('from within'));
      });
      await pass(120);
      expect(order).toEqual(['early', 'from within', 'late']);
    });

    test('a callback may cancel another one that is due at the same moment', async () => {
      const { clock, pass } = make();
      // Which of the two comes first is not said; but cancelled is cancelled.
      let cancelled = false;
      let calledNonetheless = false;
      let cancelOther = () => {};
      clock.after(5, () => {
        cancelOther();
        cancelled = true;
      });
      cancelOther = clock.after(5, () => {
        calledNonetheless = cancelled;
      });
      await pass(40);
      expect([cancelled, calledNonetheless]).toEqual([true, false]);
    });

    test('a delay of more than 2^31 milliseconds does not come at once', async () => {
      const { clock, pass } = make();
      const waiting = [2 ** 31, 2 ** 31 + 5, 2 ** 40, Number.POSITIVE_INFINITY].map((delay) =>
        called(clock, delay),
      );
      await pass(40);
      for (const { at, cancel } of waiting) {
        expect(at).toHaveLength(0);
        cancel();
      }
    });
  });
}
