import { expect, it } from 'vitest';
import { years } from '../support/fleet/years.js';

const seed = Number(process.env['CTRL_EXEC_SEED'] ?? Math.floor(Math.random() * 1_000_000));

it(`a hundred agents over ten years of renewals, rotations, one replacement of the CA and random outages, seed ${seed}: nobody is lost`, async () => {
  const tally = await years({ seed, agents: 100, years: 10, every: 5, rollover: 5 * 365 });
  console.info(`seed ${seed}: ${JSON.stringify(tally)}`);
  expect({ seed, lost: tally.lost, failedRuns: tally.failedRuns }).toEqual({
    seed,
    lost: [],
    failedRuns: [],
  });
  expect(tally.casRetired).toBe(1);
  expect(tally.renewals).toBeGreaterThan(100 * 15);
  for (const happened of [tally.successions, tally.bridges, tally.readmits])
    expect(happened).toBeGreaterThan(0);
});
