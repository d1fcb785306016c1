import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, it } from 'vitest';
import { type Ended, run } from '../support/commands.js';
import { fill, makeReadOnly, mayMount, mountDisk, type ReadOnly } from '../support/kill/disk.js';
import { answers, copy, succeeds, type Templates, templatesIn } from '../support/kill/fleet.js';
import { pairingTrials } from '../support/kill/pairing-trials.js';
import { registryTrials } from '../support/kill/registry-trials.js';
import type { Outcome, Round, Trial } from '../support/kill/rounds.js';
import { setupTrials } from '../support/kill/setup-trials.js';

const mountable = mayMount();
const unless = mountable ? '' : ' (skipped: mounting is not permitted here)';

/** More free pages than any of these commands needs. */
const enough = 80;

const root = mkdtempSync(join(tmpdir(), 'ctrl-exec-disk-'));
let templates: Templates | undefined;
const made = (): Templates => {
  if (!templates) throw new Error('the templates are made first');
  return templates;
};
afterAll(() => rmSync(root, { recursive: true, force: true }));

const trials = [...setupTrials(made), ...pairingTrials(made), ...registryTrials(made)];
const named = (name: string): Trial => {
  const trial = trials.find((each) => each.name === name);
  if (!trial) throw new Error(`there is no trial ${name}`);
  return trial;
};

/** Commands, and whose disk is in trouble. */
const cases: readonly [name: string, home: 'dispatcher' | 'agent' | 'former'][] = [
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
];

/** What a command says when it fails, without questions and log lines; also what it says of a host. */
const complaints = ({ stdout, stderr }: Ended): readonly string[] => [
  ...stderr.split('\n').filter((line) => line !== '' && !/^ACTION=|\[y\/N\]/.test(line)),
  ...stdout.split('\n').filter((line) => line.startsWith('    ERROR: ')),
];

interface Met {
  readonly exit: number | null;
  readonly outcome: Outcome;
  readonly said: string;
}

let places = 0;

/** One round on a disk of its own, with the trouble from the moment at which the command is started until it ends. */
async function meet(trial: Trial, victim: string, trouble: (home: string) => () => void): Promise<Met> {
  places += 1;
  const place = join(root, `place-${places}`);
  const home = join(place, victim);
  mkdirSync(home, { recursive: true });
  const unmountDisk = mountDisk(home);
  try {
    const round = await trial.prepare(place, places);
    return await troubled(round, trial.name, home, trouble);
  } finally {
    unmountDisk();
    rmSync(place, { recursive: true });
  }
}

async function troubled(
  round: Round,
  name: string,
  home: string,
  trouble: (home: string) => () => void,
): Promise<Met> {
  const relieve = trouble(home);
  const { command, beside } = round.begin();
  const ended = await command.ended.finally(async () => {
    await beside;
    relieve();
  });
  const said = complaints(ended).join('\n');
  const about = `exit ${ended.code}: ${said}\n${ended.stdout}`;
  if (ended.code !== 0) {
    if (ended.code !== 1) throw new Error(`expected exit 1 or 0, found ${about}`);
    if (
      said.includes('\n') ||
      !said.includes(home) ||
      !/no space|disk is full|read-only|expected a .*writable/i.test(said)
    )
      throw new Error(`expected one line that names the path and what is wrong, found ${about}`);
  }
  const outcome = await round.judge(ended).catch((error: unknown) => {
    throw new Error(`${String(error)}\nafter ${about}`, { cause: error });
  });
  // A run that could not be recorded has taken place all the same; so has a pairing before pairing mode could not close.
  const mayHaveDone = name === 'run' || name === 'pairing-mode';
  if ((outcome === 'new') !== (ended.code === 0) && !(mayHaveDone && outcome === 'new'))
    throw new Error(`all is ${outcome} after ${about}`);
  await round.again(outcome).catch((error: unknown) => {
    throw new Error(`again: ${String(error)}\nafter ${about}`, { cause: error });
  });
  return { exit: ended.code, outcome, said: said.replaceAll(home, 'HOME') };
}

const report = (heading: string, lines: readonly string[]): void =>
  console.log([heading, ...new Set(lines)].join('\n  '));

describe(`disks in trouble${unless}`, { timeout: 1_200_000 }, () => {
  it.skipIf(!mountable).each(cases)(
    `%s on a full disk of the %s, whichever write meets it: one line, and all is as before${unless}`,
    async (name, victim) => {
      templates ??= await templatesIn(join(root, 'templates'));
      const lines: string[] = [];
      // Pairing mode takes long, and most of what it writes is the creation of its database.
      const step = name === 'pairing-mode' ? 3 : 1;
      for (let free = 0; ; free += step) {
        const met = await meet(named(name), victim, (home) => fill(home, free)).catch((error: unknown) => {
          throw new Error(`${name} with ${free} free pages: ${String(error)}`, { cause: error });
        });
        if (met.exit === 0) {
          report(`${name}: works with ${free} free pages; with fewer:`, lines);
          return;
        }
        lines.push(met.said);
        if (free >= enough) throw new Error(`${name} fails with ${free} free pages: ${met.said}`);
      }
    },
  );

  it.skipIf(!mountable).each(cases)(
    `%s with read-only directories of the %s: one line, and all is as before${unless}`,
    async (name, victim) => {
      templates ??= await templatesIn(join(root, 'templates'));
      const lines: string[] = [];
      for (const what of ['home and state', 'home', 'state'] satisfies ReadOnly[]) {
        const met = await meet(named(name), victim, (home) => {
          mkdirSync(join(home, 'state'), { recursive: true, mode: 0o700 });
          return makeReadOnly(home, what);
        }).catch((error: unknown) => {
          throw new Error(`${name} with ${what} read-only: ${String(error)}`, { cause: error });
        });
        lines.push(`${what}: ${met.exit === 0 ? 'works' : met.said}`);
      }
      report(`${name}, read-only:`, lines);
    },
  );

  it.skipIf(!mountable)(
    `an agent answers and runs scripts although nothing of its own can be written${unless}`,
    async () => {
      templates ??= await templatesIn(join(root, 'templates'));
      const place = join(root, 'serving');
      const home = join(place, 'agent');
      mkdirSync(home, { recursive: true });
      const unmountDisk = mountDisk(home);
      copy(made().agent, place, 'agent');
      const dispatcher = copy(made().paired, place, 'dispatcher');
      const freed = fill(home, 0);
      await answers(dispatcher, home);
      freed();
      const writable = makeReadOnly(home, 'home and state');
      await answers(dispatcher, home);
      await succeeds(run('ctrl-exec-agent', ['self-check'], { home }));
      writable();
      unmountDisk();
    },
  );
});
