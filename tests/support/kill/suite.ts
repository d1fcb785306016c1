import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Templates, templatesIn } from './fleet.js';
import { importTrials } from './import-trials.js';
import { type KeyWatch, watchKeys } from './key-watch.js';
import { pairingTrials } from './pairing-trials.js';
import { registryTrials } from './registry-trials.js';
import { killAtAnyMoment, type Tally } from './rounds.js';
import { setupTrials } from './setup-trials.js';

/** Seconds for one round, whatever the machine is doing. */
const roundTimeout = 60;

/** How many rounds each trial gets of `total`, by weight; each one at least. */
function shares(weights: readonly number[], total: number): readonly number[] {
  const sum = weights.reduce((all, weight) => all + weight, 0);
  return weights.map((weight) => Math.max(1, Math.round((weight / sum) * total)));
}

const asTable = (tallies: readonly Tally[]): string => {
  const rows = tallies.map(({ name, milliseconds, firstChange, killed, outcome }) =>
    [milliseconds, firstChange, killed.before, killed.during, killed.after, outcome.old, outcome.new]
      .map((number) => String(number).padStart(7))
      .join('')
      .concat(`  ${name}`),
  );
  const heads = ['ms', 'first', 'before', 'during', 'after', 'old', 'new'];
  return [
    heads
      .map((head) => head.padStart(7))
      .join('')
      .concat('  command'),
    ...rows,
  ].join('\n');
};

/**
 * The tests: commands of set-up, pairing, registry and runs are killed at `rounds` moments in all. `names`: only those.
 */
export function describeKilledCommands(rounds: number, seed: string, names?: readonly string[]): void {
  describe(`commands killed at ${rounds} moments (KILL_SEED=${seed})`, () => {
    const root = mkdtempSync(join(tmpdir(), 'ctrl-exec-kill-'));
    const tallies: Tally[] = [];
    let templates: Templates | undefined;
    let watch: KeyWatch | undefined;
    const made = (): Templates => {
      if (!templates) throw new Error('the templates are made before the rounds');
      return templates;
    };

    beforeAll(() => {
      mkdirSync(join(root, 'rounds'));
      watch = watchKeys(join(root, 'rounds'));
    });
    afterAll(async () => {
      const seen = await watch?.seen();
      await watch?.end();
      rmSync(root, { recursive: true, force: true });
      const kinds = Object.entries(seen?.kinds ?? {}).map(([name, count]) => `${name} ${count}`);
      console.log(
        `KILL_SEED=${seed}\n${asTable(tallies)}\nmodes of keys looked at: ${seen?.looks} (${kinds.join(', ')})`,
      );
    });

    const trials = [
      ...setupTrials(made),
      ...pairingTrials(made),
      ...registryTrials(made),
      ...importTrials(made),
    ].filter(({ name }) => names?.includes(name) ?? true);
    const counts = shares(
      trials.map(({ weight }) => weight),
      rounds,
    );
    it.each(trials.map((trial, index) => [trial.name, counts[index] ?? 1, trial] as const))(
      '%s, killed %i times: all old or all new, and the next time it works',
      { timeout: 1000 * roundTimeout * (rounds + 2) },
      async (_name, count, trial) => {
        templates ??= await templatesIn(join(root, 'templates'));
        await killAtAnyMoment(trial, count, seed, join(root, 'rounds'), tallies);
        const seen = await watch?.seen();
        expect(seen?.wrong).toEqual([]);
        expect(seen?.looks).toBeGreaterThan(0);
      },
    );
  });
}
