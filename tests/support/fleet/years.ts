import type { Host } from './lifecycle.js';
import { day, lifecycle, recordOf, runFails, stateOf } from './lifecycle.js';

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export interface YearsPlan {
  readonly seed: number;
  readonly agents: number;
  readonly years: number;
  /** Days between two maintenance passes. */
  readonly every: number;
  /** The day on which the CA is replaced. */
  readonly rollover: number;
}

export interface Tally {
  renewals: number;
  rotations: number;
  /** Agents that followed by a chain of successions, and those of them that did so over a certificate of the former CA. */
  successions: number;
  bridges: number;
  readmits: number;
  outages: number;
  runs: number;
  casRetired: number;
  /** Whoever does not answer although its certificate holds, or does not come back by `readmit`. */
  readonly lost: string[];
  /** What failed although the host was there. */
  readonly failedRuns: string[];
}

/** From days to 14 months, mostly short. */
const outageDays = (random: () => number) => Math.ceil(2 + 423 * random() ** 3);

/**
 * A fleet over years of virtual time: maintenance passes, rotations as they fall due, one replacement of the CA, and hosts that
 * are away at random. Each host that comes back is asked to run something at once; one whose certificate has expired meanwhile is
 * readmitted.
 */
export async function years({ seed, agents, years: count, every, rollover }: YearsPlan): Promise<Tally> {
  const random = seeded(seed);
  const names = Array.from({ length: agents }, (_, index) => `host-${String(index).padStart(3, '0')}`);
  const world = await lifecycle(names);
  const { control, clock, fleet } = world;
  const tally: Tally = {
    renewals: 0,
    rotations: 0,
    successions: 0,
    bridges: 0,
    readmits: 0,
    outages: 0,
    runs: 0,
    casRetired: 0,
    lost: [],
    failedRuns: [],
  };
  const back = new Map<string, number>();
  const hosts = [...world.hosts.values()];

  /** A host that is there must do what it is asked; where its certificate has expired, after `readmit`. */
  const greet = async (host: Host, today: number, mayHaveExpired: boolean) => {
    tally.runs += 1;
    const { certificate } = await stateOf(host);
    const expired = certificate.notAfter < clock.now();
    const problem = await runFails(control, host.name);
    if (problem === undefined) return;
    const where = `day ${today}, ${host.name}: ${problem}`;
    if (!expired || !mayHaveExpired) {
      tally.failedRuns.push(where);
      return;
    }
    const readmitted = await control.dispatcher.readmit(host.name);
    const again = readmitted.isOk() ? await runFails(control, host.name) : readmitted.error.message;
    if (again === undefined) tally.readmits += 1;
    else tally.lost.push(`${where}; readmit: ${again}`);
  };

  for (let today = 0, replaced = false; today < count * 365.25; today += every) {
    for (const host of hosts) {
      const until = back.get(host.name);
      if (until === undefined && random() < 0.0025 * every) {
        tally.outages += 1;
        back.set(host.name, today + outageDays(random));
        await host.down();
      } else if (until !== undefined && until <= today) {
        back.delete(host.name);
        await host.up();
        // Half of them are asked something before maintenance comes by.
        if (random() < 0.5) await greet(host, today, true);
      }
    }
    if (!replaced && today >= rollover) {
      replaced = true;
      const begun = await fleet.settle(control.dispatcher.rotateCa());
      if (begun.isErr()) tally.lost.push(`day ${today}, rotate-ca: ${begun.error.message}`);
    }
    const pass = await control.dispatcher.maintain();
    if (pass.isErr()) tally.lost.push(`day ${today}, maintain: ${pass.error.message}`);
    else if (pass.value.caRetired) tally.casRetired += 1;
    for (const host of hosts) {
      if (!host.isUp()) continue;
      const { certificate } = await stateOf(host);
      // Maintenance has seen that it is there, and cannot renew what has expired.
      if (certificate.notAfter < clock.now() || random() < 0.02) await greet(host, today, true);
    }
    await clock.advance(every * day);
  }

  for (const host of hosts) {
    await host.up();
    await greet(host, Math.ceil(count * 365.25), true);
    const { pins } = await recordOf(control, host.name);
    const { certificate } = await stateOf(host);
    if (!pins.some(({ serial }) => serial === certificate.serial))
      tally.lost.push(`${host.name}: its certificate is not the pinned one`);
  }
  for (const { action } of control.events.events) {
    if (action === 'agent-renewed') tally.renewals += 1;
    if (action === 'rotation-switched') tally.rotations += 1;
  }
  for (const { test } of hosts) {
    let followed = false;
    for (const { action } of test.events.events) {
      if (action === 'succession-accepted') tally.successions += 1;
      // A bridge is followed to, and at once brings the CA.
      if (action === 'cas-updated' && followed) tally.bridges += 1;
      followed = action === 'succession-accepted';
    }
  }
  return tally;
}
