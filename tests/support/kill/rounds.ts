import { createHash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CommandOptions, Ended, Started } from '../commands/commands.js';
import { watchEffects } from './effects.js';

/** What was there before a command, or what it was to bring about. */
export type Outcome = 'old' | 'new';

/** One attempt at a command that is killed, in places of its own. */
export interface Round {
  /** The directories that the command writes to. */
  readonly writes: readonly string[];
  /**
   * Starts the command, with options of the caller's. `beside`: what goes on at the same time (an operator who approves);
   * it ends by itself, with what those people saw.
   */
  begin(options?: CommandOptions): { readonly command: Started; readonly beside?: Promise<readonly Ended[]> };
  /** Looks from outside, with fresh commands and at the files themselves; throws when it is neither old nor new. */
  judge(ended: Ended): Promise<Outcome>;
  /** Does the same thing again and looks whether all is well and nothing is left behind. */
  again(outcome: Outcome): Promise<void>;
}

/** A command under trial. */
export interface Trial {
  readonly name: string;
  /** Its share of all rounds. */
  readonly weight: number;
  /** Names of files whose change marks the beginning of the work. Default: all. */
  readonly mark?: RegExp;
  /** Kill only from that beginning on. Default: half of the rounds. */
  readonly late?: boolean;
  /** Prepares a round in an empty directory; `number` counts from 0. */
  prepare(place: string, number: number): Promise<Round>;
}

/** How the rounds of one trial went. */
export interface Tally {
  readonly name: string;
  /** Milliseconds of an undisturbed run, and how many of them it took to its first change of a file. */
  readonly milliseconds: number;
  readonly firstChange: number;
  /** The command was killed before it had changed a file, had changed one, or had ended by itself. */
  readonly killed: { before: number; during: number; after: number };
  readonly outcome: { old: number; new: number };
}

/** Numbers from 0 to 1 that depend on the seed alone. */
function drawer(seed: string): () => number {
  let count = 0;
  return () => {
    count += 1;
    return createHash('sha256').update(`${seed} ${count}`).digest().readUInt32BE(0) / 2 ** 32;
  };
}

interface Moment {
  readonly after: 'start' | 'first change';
  readonly milliseconds: number;
}

interface Ran {
  readonly phase: keyof Tally['killed'];
  readonly outcome: Outcome;
  readonly milliseconds: number;
  readonly firstChange: number;
}

/** Slower machines get the kill a little later than the end, so that the last moments are among them. */
const beyond = 1.1;

/**
 * Kills a command at so many moments. They are drawn evenly over the time that an undisturbed run takes, every second
 * one over its time from its first change of a file on, so that most do not fall into the loading of the program; of
 * those of a `late` trial most come soon after it. What happened is added to `tallies`.
 */
export async function killAtAnyMoment(
  trial: Trial,
  rounds: number,
  seed: string,
  places: string,
  tallies: Tally[],
): Promise<void> {
  const draw = drawer(`${seed} ${trial.name}`);
  const calm = await play(trial, places, 0, undefined);
  if (calm.outcome !== 'new') throw new Error(`${trial.name}: left alone it does not do its work`);
  const tally: Tally = {
    name: trial.name,
    milliseconds: Math.round(calm.milliseconds),
    firstChange: Math.round(calm.firstChange),
    killed: { before: 0, during: 0, after: 0 },
    outcome: { old: 0, new: 0 },
  };
  tallies.push(tally);
  const working = calm.milliseconds - calm.firstChange;
  const first = Math.floor(draw() * 2);
  for (let round = 0; round < rounds; round += 1) {
    const share = ((Math.floor(round / 2) + draw()) / Math.ceil(rounds / 2)) * beyond;
    const moment: Moment =
      trial.late === true || (round + first) % 2 === 1
        ? { after: 'first change', milliseconds: (trial.late === true ? share ** 3 : share) * working }
        : { after: 'start', milliseconds: share * calm.milliseconds };
    const { phase, outcome } = await play(trial, places, round + 1, moment).catch((error: unknown) => {
      const when = `${moment.milliseconds.toFixed(1)} ms after its ${moment.after}`;
      throw new Error(`${trial.name}, round ${round + 1}, killed ${when}: ${textOf(error)}`, {
        cause: error,
      });
    });
    tally.killed[phase] += 1;
    tally.outcome[outcome] += 1;
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function play(trial: Trial, places: string, number: number, moment: Moment | undefined): Promise<Ran> {
  const place = join(places, `${trial.name.replaceAll(/[^a-z0-9]+/g, '-')}-${number}`);
  mkdirSync(place);
  const round = await trial.prepare(place, number);
  const effects = watchEffects(round.writes, trial.mark);
  const begun = performance.now();
  const { command, beside } = round.begin();
  let timer: NodeJS.Timeout | undefined;
  if (moment) {
    const kill = () => {
      timer = setTimeout(() => command.child.kill('SIGKILL'), moment.milliseconds);
    };
    if (moment.after === 'start') kill();
    else void effects.began.then(kill);
  }
  const ended = await command.ended;
  const milliseconds = performance.now() - begun;
  clearTimeout(timer);
  await beside;
  const worked = await effects.end();
  const phase = ended.signal === null ? 'after' : worked ? 'during' : 'before';

  const said = `\nit had said: ${ended.stdout}${ended.stderr}`;
  const outcome = await round.judge(ended).catch((error: unknown) => {
    throw new Error(`${phase}: ${textOf(error)}${said}`, { cause: error });
  });
  if (phase === 'before' && outcome === 'new' && trial.mark === undefined)
    throw new Error(`it changed no file, and all is new${said}`);
  if (phase === 'after' && ended.code === 0 && outcome === 'old')
    throw new Error(`it ended with 0, and all is old${said}`);
  await round.again(outcome).catch((error: unknown) => {
    throw new Error(`${phase}, ${outcome}, then again: ${textOf(error)}${said}`, { cause: error });
  });
  rmSync(place, { recursive: true });
  return { phase, outcome, milliseconds, firstChange: (effects.first() ?? begun) - begun };
}
