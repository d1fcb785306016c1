import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, it } from 'vitest';
import { run, start } from '../support/commands/commands.js';
import {
  changes,
  fill,
  makeReadOnly,
  mayInject,
  mayMount,
  mountDisk,
  type ReadOnly,
  readOnlyFrom,
  wasReadOnly,
} from '../support/kill/disk.js';
import { control, copy, succeeds, type Templates, templatesIn } from '../support/kill/fleet.js';
import { importTrials } from '../support/kill/import-trials.js';
import { pairingTrials } from '../support/kill/pairing-trials.js';
import { registryTrials } from '../support/kill/registry-trials.js';
import type { Trial } from '../support/kill/rounds.js';
import { setupTrials } from '../support/kill/setup-trials.js';
import { leaveNothingBehind } from '../support/kill/sweep.js';
import { type Met, meet, type Trouble } from '../support/kill/trouble.js';

leaveNothingBehind();

const mountable = mayMount();
const unless = mountable ? '' : ' (skipped: mounting is not permitted here)';
const injectable = mountable && mayInject();
const unlessInjected = injectable ? '' : ' (skipped: needs strace, and permission to mount)';

/** More free pages, or changes, than any of these commands needs. */
const enough = 120;

const root = mkdtempSync(join(tmpdir(), 'disks-'));
const templates = (() => {
  let made: Templates | undefined;
  return {
    make: async () => {
      made ??= await templatesIn(join(root, 'templates'));
    },
    made: (): Templates => {
      if (!made) throw new Error('the templates are made first');
      return made;
    },
  };
})();

const trials = [
  ...setupTrials(templates.made),
  ...pairingTrials(templates.made),
  ...registryTrials(templates.made),
  ...importTrials(templates.made),
];
const named = (name: string): Trial => {
  const trial = trials.find((each) => each.name === name);
  if (!trial) throw new Error(`there is no trial ${name}`);
  return trial;
};

/** Commands, and whose disk is in trouble. */
const cases: readonly [name: string, home: 'dispatcher' | 'agent'][] = [
  ['setup-ca', 'dispatcher'],
  ['setup-ctrl-exec', 'dispatcher'],
  ['setup-ctrl-exec --yes', 'dispatcher'],
  ['request-pairing, codes compared', 'agent'],
  ['request-pairing --new-key, once more', 'agent'],
  ['request-pairing --replace, another CA', 'agent'],
  ['pairing-mode', 'dispatcher'],
  ['approve', 'dispatcher'],
  ['edit-agent', 'dispatcher'],
  ['unpair', 'dispatcher'],
  ['discovery', 'dispatcher'],
  ['run', 'dispatcher'],
  ['import-state of a control host', 'dispatcher'],
  ['import-state of an agent', 'agent'],
];

/** Those whose changes are gone through one by one; what the others do is among it. */
const gradual = cases.filter(
  ([name]) => !['request-pairing --new-key, once more', 'discovery'].includes(name),
);

/** Rounds of one command with one kind of trouble. */
interface Row {
  readonly name: string;
  readonly trouble: string;
  readonly met: Met[];
}
const rows: Row[] = [];

const begun = (name: string, trouble: string): Row => {
  const row: Row = { name, trouble, met: [] };
  rows.push(row);
  return row;
};

const counted = (texts: readonly string[]): string[] =>
  [...new Set(texts)].map((text) => `${texts.filter((each) => each === text).length} × ${text}`);

const report = ({ name, trouble, met }: Row): void => {
  const said = counted(met.flatMap((each) => each.said));
  if (said.length > 0) console.log([`${name}, ${trouble}:`, ...said].join('\n  '));
};

/** Everything that was tried: how often it worked all the same, and what was there then. */
function tally(): string {
  const numbers = (met: readonly Met[]) =>
    [
      met.length,
      met.filter(({ worked }) => worked).length,
      met.filter(({ outcome }) => outcome === 'old').length,
      met.filter(({ outcome }) => outcome === 'new').length,
    ]
      .map((number) => String(number).padStart(7))
      .join('');
  return [
    '  tried worked    old    new  command, trouble',
    ...rows.map(({ name, trouble, met }) => `${numbers(met)}  ${name}, ${trouble}`),
    `${numbers(rows.flatMap(({ met }) => met))}  all; after each, the same command on a disk without trouble worked`,
  ].join('\n');
}

let places = 0;

/** One round. `number`: what kind of round, where a trial has several. */
async function tried(
  row: Row,
  victim: string,
  number: number,
  about: string,
  trouble: (home: string) => Trouble,
): Promise<Met> {
  places += 1;
  const place = join(root, `place-${places}`);
  try {
    const met = await meet(named(row.name), place, number, victim, trouble);
    row.met.push(met);
    return met;
  } catch (error) {
    throw new Error(`${row.name} with ${about}: ${String(error)}`, { cause: error });
  }
}

/** So many rounds at once: most of their time is waiting. */
const width = 3;

/** Round upon round, each with more room than the one before, until one says that it had enough; often the first does. */
async function untilEnough(step: number, round: (number: number) => Promise<boolean>): Promise<void> {
  if (await round(0)) return;
  for (let number = step; number <= enough; number += width * step) {
    const numbers = Array.from({ length: width }, (_, index) => number + index * step);
    const results = await Promise.allSettled(numbers.map(round));
    for (const each of results) if (each.status === 'rejected') throw each.reason;
    if (results.some((each) => each.status === 'fulfilled' && each.value)) return;
  }
  throw new Error(`it fails with ${enough}, too`);
}

afterAll(() => {
  rmSync(root, { recursive: true, force: true });
  console.log(tally());
});

describe(`disks in trouble${unless}`, { timeout: 1_200_000 }, () => {
  it.skipIf(!mountable).each(cases)(
    `%s on a full disk of the %s, whichever write meets it: one line, and all is as before${unless}`,
    async (name, victim) => {
      await templates.make();
      const row = begun(name, 'full disk');
      await untilEnough(1, async (free) => {
        const about = `${free} free pages`;
        return (await tried(row, victim, free, about, (home) => ({ relieve: fill(home, free) }))).worked;
      });
      report(row);
    },
  );

  it.skipIf(!mountable).each(cases)(
    `%s with read-only directories of the %s: one line, and all is as before${unless}`,
    async (name, victim) => {
      await templates.make();
      const row = begun(name, 'read-only directories');
      for (const [index, what] of (['home and state', 'home', 'state'] satisfies ReadOnly[]).entries())
        await tried(row, victim, index, `${what} read-only`, (home) => {
          mkdirSync(join(home, 'state'), { recursive: true, mode: 0o700 });
          return { relieve: makeReadOnly(home, what) };
        });
      report(row);
    },
  );

  it.skipIf(!injectable).each(gradual)(
    `%s on a disk of the %s that becomes read-only at any of its changes: one line, and all is old or new${unlessInjected}`,
    async (name, victim) => {
      await templates.make();
      for (const change of changes) {
        const row = begun(name, `read-only from a ${change} on`);
        // SQLite writes many pages for one change, and pairing mode takes long.
        await untilEnough(change === 'pwrite64' && name === 'pairing-mode' ? 3 : 1, async (number) => {
          const nth = number + 1;
          const log = join(root, `${name.replaceAll(/[^a-z]+/g, '-')}-${change}-${nth}`);
          const met = await tried(
            row,
            victim,
            number,
            `a disk that is read-only from ${change} ${nth} on`,
            () => ({
              before: readOnlyFrom(nth, change, log),
              relieve: () => undefined,
            }),
          );
          const reached = wasReadOnly(log);
          rmSync(log);
          if (!reached && !met.worked)
            throw new Error(`${name} fails on a disk without trouble: ${met.said}`);
          return !reached;
        });
        report(row);
      }
    },
  );

  it.skipIf(!mountable)(
    `an agent answers although nothing of its own can be written, and runs nothing that it cannot record${unless}`,
    async () => {
      await templates.make();
      const place = join(root, 'serving');
      const home = join(place, 'agent');
      mkdirSync(home, { recursive: true });
      const unmountDisk = mountDisk(home);
      try {
        copy(templates.made().agent, place, 'agent');
        writeFileSync(join(home, 'hello'), '#!/bin/sh\necho hello\n');
        chmodSync(join(home, 'hello'), 0o755);
        writeFileSync(join(home, 'scripts.conf'), `hello = ${join(home, 'hello')}\n`);
        const dispatcher = copy(templates.made().paired, place, 'dispatcher');
        for (const trouble of [() => fill(home, 0), () => makeReadOnly(home, 'home and state')]) {
          const relieve = trouble();
          const daemon = start('ctrl-exec-agent', ['serve', '--port', '0'], { home });
          const port = await daemon.shows(/Serving on .*:(\d+)/);
          await succeeds(control(dispatcher, 'ping', 'web-01', '--port', port));
          const refused = await control(dispatcher, 'run', 'web-01', 'hello', '--port', port);
          if (!/requests cannot be recorded|has lost its record/.test(refused.stdout))
            throw new Error(`the run says ${refused.stdout}`);
          await succeeds(run('ctrl-exec-agent', ['self-check'], { home }));
          await daemon.stop();
          relieve();
        }
      } finally {
        unmountDisk();
        rmSync(place, { recursive: true, force: true });
      }
    },
  );
});
