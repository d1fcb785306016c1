import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { atEnd, type Ended } from '../commands/commands.js';
import { mountDisk } from './disk.js';
import type { Outcome, Round, Trial } from './rounds.js';

/** What befalls a disk from the moment at which a command is started until it has ended. */
export interface Trouble {
  /** Shell commands for the command that is in trouble. */
  readonly before?: string;
  relieve(): void;
}

/** How a command fared. */
export interface Met {
  readonly worked: boolean;
  readonly outcome: Outcome;
  /** What was said, by the command and beside it, with HOME for the home. */
  readonly said: readonly string[];
}

/** What a command says when it fails, without questions and log lines; also what it says of a host. */
const complaints = ({ stdout, stderr }: Ended): readonly string[] => [
  ...stderr
    .split('\n')
    .map((line) => line.replace(/^.*\[y\/N\] /, ''))
    .filter((line) => line !== '' && !line.startsWith('ACTION=')),
  ...stdout.split('\n').filter((line) => line.startsWith('    ERROR: ')),
];

const causes = /no space|disk is full|read-only|reported an error|expected a .*writable|cannot be made/i;

const explains = (home: string, text: string): boolean =>
  text.split('\n').some((line) => line.includes(home) && causes.test(line));

/** One round on a disk of its own. Throws unless it went as it must. */
export async function meet(
  trial: Trial,
  place: string,
  number: number,
  victim: string,
  trouble: (home: string) => Trouble,
): Promise<Met> {
  const home = join(place, victim);
  mkdirSync(home, { recursive: true });
  const unmountDisk = mountDisk(home);
  let mounted = true;
  const clear = () => {
    if (mounted) unmountDisk();
    mounted = false;
    rmSync(place, { recursive: true, force: true });
  };
  // Also when the test is given up meanwhile.
  atEnd(clear);
  const met = await troubled(await trial.prepare(place, number), trial.name, home, trouble);
  clear();
  return met;
}

/** What lies in a home, by path, but for databases, and what an agent that serves records of requests: what they hold is asked of the commands. */
const filesIn = (home: string): ReadonlyMap<string, string> =>
  new Map(
    readdirSync(home, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !/\.db(-wal|-shm|-journal)?$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !/\/state\/(replay|runs)\//.test(path))
      .map((path) => [path, readFileSync(path, 'utf8')]),
  );

/** Nothing that was there is lost or changed. A configuration may have got a line: `dispatcher_id` comes first. */
function requireIntact(before: ReadonlyMap<string, string>, home: string): void {
  const after = filesIn(home);
  for (const [path, text] of before) {
    const now = after.get(path);
    const kept = path.endsWith('.conf')
      ? now !== undefined && text.split('\n').every((line) => now.split('\n').includes(line))
      : now === text;
    if (!kept) throw new Error(`${path} is not as it was`);
  }
}

async function troubled(
  round: Round,
  name: string,
  home: string,
  trouble: (home: string) => Trouble,
): Promise<Met> {
  const files = filesIn(home);
  const { before, relieve } = trouble(home);
  const { command, beside } = round.begin(before === undefined ? {} : { before });
  const ended = await command.ended;
  const others = (await beside) ?? [];
  relieve();
  const lines = complaints(ended);
  const about = `exit ${ended.code ?? ended.signal}: ${ended.stdout}${ended.stderr}`;
  if (ended.code !== 0 && ended.code !== 1) throw new Error(`expected exit 1 or 0, found ${about}`);
  if (ended.code === 1 && (lines.length !== 1 || !lines.every((line) => explains(home, line))))
    throw new Error(`expected one line that names the path and what is wrong, found ${about}`);
  const outcome = await round.judge(ended).catch((error: unknown) => {
    throw new Error(`${String(error)}\nafter ${about}`, { cause: error });
  });
  if (outcome === 'old') requireIntact(files, home);
  if (!isTruthful(name, home, outcome, [ended, ...others]))
    throw new Error(`all is ${outcome} after ${about}`);
  await round.again(outcome).catch((error: unknown) => {
    throw new Error(`again: ${String(error)}\nafter ${about}`, { cause: error });
  });
  const besides = others.flatMap((other) => (other.code === 0 ? [] : complaints(other)));
  return {
    worked: ended.code === 0 && outcome === 'new',
    outcome,
    said: [...lines, ...besides.map((line) => `beside it: ${line}`)].map((line) =>
      line.replaceAll(home, 'HOME'),
    ),
  };
}

/** Whether what people were told is what has happened. */
function isTruthful(
  name: string,
  home: string,
  outcome: Outcome,
  [ended, ...others]: readonly [Ended, ...Ended[]],
): boolean {
  if ((outcome === 'new') === (ended.code === 0)) return true;
  // A run that could not be recorded has taken place all the same; so has a pairing before pairing mode could not close.
  if (outcome === 'new') return name === 'run' || name === 'pairing-mode';
  // Pairing mode itself goes on; the operator reads in its log, or is told by `approve`, why nobody can pair.
  return name === 'pairing-mode' && [ended, ...others].some(({ stderr }) => explains(home, stderr));
}
