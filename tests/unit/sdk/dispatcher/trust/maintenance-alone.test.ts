import { describe, expect, it } from 'vitest';
import { failure, value } from '../../../../contract/result.js';
import { day, lifecycle, pingFails } from '../../../../support/fleet/lifecycle.js';

const names = ['a', 'b'] as const;

/** A fleet whose agents are due for renewal. */
async function due() {
  const world = await lifecycle(names);
  for (const name of names) expect(await pingFails(world.control, name)).toBeUndefined();
  await world.clock.advance(200 * day);
  return world;
}

describe('a maintenance pass', () => {
  it('that is to be alone is held off while another such one goes on, and not afterwards', async () => {
    const { control } = await due();
    const { dispatcher } = control;
    const [first, second] = await Promise.all([
      dispatcher.maintain({ alone: true }),
      dispatcher.maintain({ alone: true }),
    ]);
    const outcomes = [first, second].map((each) => (each.isOk() ? each.value.renewed : each.error.code));
    expect(outcomes).toEqual(expect.arrayContaining([names, 'held']));
    expect(value(await dispatcher.maintain({ alone: true })).renewed).toEqual([]);
  });

  it('that an operator asks for is not kept away by one that is to be alone', async () => {
    const { control } = await due();
    const [alone, other] = await Promise.all([
      control.dispatcher.maintain({ alone: true }),
      control.dispatcher.maintain(),
    ]);
    expect([alone.isOk(), other.isOk()]).toEqual([true, true]);
  });

  it('turns to no agent once it is told to stop; the next one does', async () => {
    const { control } = await due();
    const stopped = await control.dispatcher.maintain({ signal: AbortSignal.abort() });
    expect(failure(stopped).code).toBe('aborted');
    expect(value(await control.dispatcher.maintain()).renewed).toEqual(names);
  });
});

it('a dispatcher is settled when what is under way has ended, also what was begun meanwhile', async () => {
  const { control } = await due();
  const { dispatcher } = control;
  const ended: string[] = [];
  const both = dispatcher
    .maintain()
    .then(() => {
      ended.push('first');
      return dispatcher.locks();
    })
    .then(() => ended.push('second'));
  await dispatcher.settled();
  expect(ended[0]).toBe('first');
  await both;
  expect(ended).toEqual(['first', 'second']);
  await dispatcher.settled();
});
