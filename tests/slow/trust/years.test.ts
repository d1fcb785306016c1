import { describe, expect, it } from 'vitest';
import { years } from '../../support/fleet/years.js';

/** Another one: `CTRL_EXEC_SEED=7 npx vitest run --project unit tests/slow/trust/years.test.ts`. */
const given = process.env['CTRL_EXEC_SEED'];
const seed = given === undefined ? 20_260_101 : Number(given);

describe('twelve agents over ten years', () => {
  it(`with seed ${seed}: nobody is lost, and no run fails`, async () => {
    const plan = { seed, agents: 12, years: 10, every: 10, rollover: 5 * 365 };
    const tally = await years(plan);
    console.info(`seed ${seed}: ${JSON.stringify(tally)}`);
    expect({ seed, lost: tally.lost, failedRuns: tally.failedRuns }).toEqual({
      seed,
      lost: [],
      failedRuns: [],
    });
    expect(tally).toMatchObject({ casRetired: 1 });
    // Half of a year each, and 275 days each.
    expect(tally.renewals).toBeGreaterThan(12 * 15);
    expect(tally.rotations).toBeGreaterThanOrEqual(13);
    expect(tally.successions).toBeGreaterThan(0);
    expect(tally.readmits).toBeGreaterThan(0);
  }, 120_000);
});
