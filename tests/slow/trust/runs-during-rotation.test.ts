import { describe, expect, it } from 'vitest';
import { value } from '../../contract/result.js';
import { type Control, day, lifecycle, pingFails, runFails } from '../../support/fleet/lifecycle.js';

const names = ['a', 'b', 'c', 'd'] as const;

/** Four hosts that have been spoken with. */
async function fleetOfFour() {
  const world = await lifecycle(names);
  for (const name of names) expect(await pingFails(world.control, name)).toBeUndefined();
  return world;
}

const rotated = async ({ dispatcher }: Control, insist = false) => value(await dispatcher.rotate({ insist }));

describe('no run fails because of a rotation', () => {
  it('runs go on all the time, in this process and in others that have begun before', async () => {
    const { control, clock } = await fleetOfFour();
    // Other processes that read the identity when they like.
    const others = [control, control.restarted(), control.restarted()];
    const problems: string[] = [];
    let running = true;
    let runs = 0;
    const lane = async (each: Control, name: string) => {
      while (running) {
        const problem = await runFails(each, name, `n${runs}`);
        runs += 1;
        if (problem !== undefined && !problem.includes('locked')) problems.push(`${name}: ${problem}`);
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const lanes = others.flatMap((each) => names.map((name) => lane(each, name)));
    try {
      for (let turn = 0; turn < 6; turn += 1) {
        value(await control.dispatcher.revoke(`abc${turn}`));
        expect((await rotated(control)).state).toBe('switched');
        value(await control.dispatcher.maintain());
        await clock.advance(31 * day);
        value(await control.dispatcher.maintain());
      }
    } finally {
      running = false;
      await Promise.all(lanes);
    }
    expect(problems).toEqual([]);
    expect(runs).toBeGreaterThan(50);
    // Months of virtual time with real signatures all along.
  }, 120_000);
});
