import { describe, expect, it } from 'vitest';
import { value } from '../../contract/result.js';
import { day, lifecycle, pingFails, runFails } from '../../support/fleet/lifecycle.js';

const names = ['a', 'b', 'c'] as const;
type World = Awaited<ReturnType<typeof lifecycle>>;

async function fleetOfThree() {
  const world = await lifecycle(names);
  for (const name of names) expect(await pingFails(world.control, name)).toBeUndefined();
  return world;
}

const rotateCa = async ({ fleet, control }: Pick<World, 'fleet' | 'control'>) =>
  value(await fleet.settle(control.dispatcher.rotateCa()));

const casOf = async ({ context }: World['control']) => value(await context.authority.certificates());

describe('rotate-ca', () => {
  it('does not fail a run', async () => {
    const world = await fleetOfThree();
    const { control, clock } = world;
    const problems: string[] = [];
    let running = true;
    let runs = 0;
    const lanes = [control, control.restarted()].flatMap((each) =>
      names.map(async (name) => {
        while (running) {
          const problem = await runFails(each, name, `n${runs}`);
          runs += 1;
          if (problem !== undefined) problems.push(`${name}: ${problem}`);
          await new Promise((resolve) => setImmediate(resolve));
        }
      }),
    );
    await rotateCa(world);
    await clock.advance(31 * day);
    await control.dispatcher.maintain();
    await control.dispatcher.maintain();
    running = false;
    await Promise.all(lanes);
    expect(await casOf(control)).toHaveLength(1);
    expect(problems).toEqual([]);
    expect(runs).toBeGreaterThan(10);
  });
});

describe('readmit', () => {
  async function away(days: number, meanwhile: (world: World) => Promise<unknown> = async () => undefined) {
    const world = await fleetOfThree();
    await world.host('c').down();
    for (let done = 0; done < days; done += 30) {
      await world.clock.advance(30 * day);
      value(await world.control.dispatcher.maintain());
      if (done === 60) await meanwhile(world);
    }
    await world.host('c').up();
    return world;
  }

  it('interrupted at every step, it can be done again', async () => {
    for (const path of ['/rotate-serial', '/renew', '/renew-complete', '/ping']) {
      for (const loss of ['request', 'answer'] as const) {
        const { control } = await away(370, async ({ control: { dispatcher } }) => dispatcher.rotate());
        let lost = false;
        control.fault = (asked) => {
          if (lost || asked !== path) return undefined;
          lost = true;
          return loss;
        };
        const first = await control.dispatcher.readmit('c');
        expect({ path, loss, lost }).toEqual({ path, loss, lost: true });
        if (first.isErr() && (await runFails(control, 'c')) !== undefined)
          value(await control.dispatcher.readmit('c'));
        expect(await runFails(control, 'c')).toBeUndefined();
      }
    }
  }, 120_000);
});
