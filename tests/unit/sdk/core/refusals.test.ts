import { describe, expect, it } from 'vitest';
import { manualClock } from '../../../../src/adapters/memory/clock.js';
import { refusalLog } from '../../../../src/sdk/core/refusals.js';

function watched() {
  const clock = manualClock(1_000_000);
  const told: (readonly [string, string, number | undefined])[] = [];
  const refuse = refusalLog(clock, (ip, reason, more) => told.push([ip, reason, more]));
  /** What was told since the last time. */
  return { clock, refuse, told: () => told.splice(0) };
}

describe('refusals', () => {
  it('are told once a minute for each address, with the number of those that were not', async () => {
    const { clock, refuse, told } = watched();
    for (let count = 0; count < 5; count++) refuse('192.0.2.1', 'too many');
    expect(told()).toEqual([['192.0.2.1', 'too many', undefined]]);
    await clock.advance(59_999);
    refuse('192.0.2.1', 'too many');
    expect(told()).toEqual([]);
    await clock.advance(1);
    refuse('192.0.2.1', 'expired');
    expect(told()).toEqual([['192.0.2.1', 'expired', 5]]);
    await clock.advance(60_000);
    refuse('192.0.2.1', 'expired');
    expect(told()).toEqual([['192.0.2.1', 'expired', undefined]]);
  });

  it('of another address are told at once', () => {
    const { refuse, told } = watched();
    for (const ip of ['192.0.2.1', '192.0.2.2', '2001:db8::1', '192.0.2.1']) refuse(ip, 'x');
    expect(told().map(([ip]) => ip)).toEqual(['192.0.2.1', '192.0.2.2', '2001:db8::1']);
  });

  it('are not silenced for longer by those that come meanwhile', async () => {
    const { clock, refuse, told } = watched();
    for (let second = 0; second <= 180; second += 10) {
      refuse('192.0.2.1', 'x');
      await clock.advance(10_000);
    }
    expect(told().map(([, , more]) => more)).toEqual([undefined, 5, 5, 5]);
  });

  it('of more addresses than are remembered share one line a minute, and the log is not flooded', async () => {
    const { clock, refuse, told } = watched();
    const address = (index: number) => `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
    for (let index = 0; index < 10_000; index++) refuse(address(index), 'x');
    expect(told()).toHaveLength(10_000);
    for (let index = 10_000; index < 10_050; index++) refuse(address(index), 'x');
    expect(told()).toEqual([[address(10_000), 'x', undefined]]);
    refuse(address(0), 'x');
    expect(told()).toEqual([]);

    await clock.advance(60_000);
    refuse(address(10_050), 'x');
    refuse(address(10_051), 'x');
    expect(told().map(([ip]) => ip)).toEqual([address(10_050), address(10_051)]);
  });
});
