import { expect, it } from 'vitest';
import { value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import { lifecycle, pingFails } from '../../../../support/fleet/lifecycle.js';

/** Three agents, of which the last refuses lists: its disk is full. */
async function withOneLeft() {
  const world = await lifecycle(['a', 'b', 'c']);
  for (const name of ['a', 'b', 'c']) expect(await pingFails(world.control, name)).toBeUndefined();
  world.host('c').full = true;
  const since = world.clock.now();
  expect(value(await world.control.dispatcher.revoke('abcdef')).pending).toMatchObject([{ name: 'c' }]);
  return { ...world, since };
}

it('an agent that has not acknowledged the newest list is asked, and every answer of it says since when', async () => {
  const { control, clock, host, since } = await withOneLeft();
  await clock.advance(60_000);
  const hosts = ['a', 'c'];
  const { dispatcher } = control;
  const asked = {
    ping: async () => value(await dispatcher.ping({ hosts })).results,
    discovery: async () => value(await dispatcher.discover({ hosts })).hosts,
    run: async () => value(await dispatcher.run({ hosts, script: 'greet' })).results,
    async: async () => value(await dispatcher.submit({ hosts, script: 'greet' })).results,
  };
  for (const [way, ask] of Object.entries(asked)) {
    const results: readonly { readonly host: string; readonly revocationsPendingSince?: number }[] =
      await ask();
    expect({ way, a: results[0]?.revocationsPendingSince, c: results[1]?.revocationsPendingSince }).toEqual({
      way,
      a: undefined,
      c: since,
    });
    await expect.poll(async () => value(await dispatcher.settleRuns())).toBeDefined();
    for (const { host: name, script } of value(await dispatcher.locks()))
      value(await dispatcher.releaseLock({ host: name, script }));
  }
  const stands = async () =>
    value(await dispatcher.serialStatus()).agents.map((agent) => agent.revocationsPendingSince);
  expect(await stands()).toEqual([undefined, undefined, since]);
  host('c').full = false;
  const [, first] = await asked.ping();
  expect(first).toMatchObject({ status: 'ok' });
  expect(first).not.toHaveProperty('revocationsPendingSince');
  expect(await stands()).toEqual([undefined, undefined, undefined]);
});

it('how a run ended says nothing of it later', async () => {
  const { control } = await withOneLeft();
  const { dispatcher } = control;
  const { reqid, results } = value(await dispatcher.run({ hosts: ['c'], script: 'greet' }));
  expect(results[0]).toHaveProperty('revocationsPendingSince');
  expect(value(await dispatcher.status(reqid)).results[0]).not.toHaveProperty('revocationsPendingSince');
});

it('since when is counted from the first revocation that it lacks, and not from before it was paired', async () => {
  const { control, clock, host, add, since } = await withOneLeft();
  await clock.advance(60_000);
  value(await control.dispatcher.revoke('abcdee'));
  const late = await add('d');
  late.full = true;
  const at = clock.now();
  await clock.advance(60_000);
  const [c, d] = value(await control.dispatcher.ping({ hosts: ['c', 'd'] })).results;
  expect(c).toMatchObject({ revocationsPendingSince: since });
  // Whether it is a peer of ours shows with its first answer.
  expect(d).toMatchObject({ revocationsPendingSince: at });
  expect(host('c').full).toBe(true);
});

it('the alarm is raised when it begins, and not again for the same agents', async () => {
  const { control, host } = await withOneLeft();
  const alarms = () =>
    eventsOf(control.events, 'revocations-pending').map(({ level, fields }) => [level, fields.hosts]);
  expect(alarms()).toEqual([['error', 'c']]);
  for (let minute = 0; minute < 3; minute += 1)
    expect(value(await control.dispatcher.offerRevocations())).toMatchObject({ pending: [{ name: 'c' }] });
  expect(alarms()).toEqual([['error', 'c']]);
  await host('b').down();
  value(await control.dispatcher.revoke('abcdee'));
  expect(alarms().slice(1)).toEqual([['error', 'b,c']]);
});

it('it is offered again until it is taken, and then nobody is asked', async () => {
  const { control, host } = await withOneLeft();
  const before = control.sent.length;
  expect(value(await control.dispatcher.offerRevocations()).told).toEqual([]);
  expect(control.sent.slice(before).every((sent) => sent.startsWith('c '))).toBe(true);
  host('c').full = false;
  expect(value(await control.dispatcher.offerRevocations())).toEqual({ told: ['c'], pending: [] });
  const then = control.sent.length;
  expect(value(await control.dispatcher.offerRevocations())).toEqual({ told: [], pending: [] });
  expect(control.sent).toHaveLength(then);
});

it('nothing is offered to agents that are revoked themselves, nor to legacy agents', async () => {
  const { control } = await withOneLeft();
  value(await control.dispatcher.revoke('c'));
  expect(value(await control.dispatcher.offerRevocations())).toEqual({ told: [], pending: [] });
});
