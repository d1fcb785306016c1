import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  renameSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { ProcessOutcome } from '../../../ports/process-runner.js';
import { exclusive, syncDirectory } from '../../shared/durable-file.js';
import { identityOf, ownIdentity } from '../../shared/process-identity.js';
import { codeOf } from '../../shared/system-code.js';
import { childProcessRunner } from '../runner.js';
import type { StartedProgram } from '../start.js';
import { type FileCapture, fileCapture } from './file-capture.js';
import { fileNames, writeOnce } from './layout.js';
import type { WatchOrder } from './order.js';
import { type EndRecord, encode, type ProgramRecord } from './records.js';

/** Bytes that a record of an end may have without asking for more room on the disk. */
const roomForEnd = 4096;
/** Milliseconds between two looks at whether the job is to be cancelled. */
const cancelInterval = 500;
/** Milliseconds between two signs of life, for whoever cannot see this process. */
const lifeInterval = 15_000;
/** Milliseconds for which an end that cannot be recorded is tried again. */
const recordPatience = 600_000;
const largestHolders = 100;

interface Prepared {
  readonly stdout: number;
  readonly stderr: number;
  readonly room: number;
}

/** Makes all files that the job will need, so that a full disk shows now and not at its end. */
const prepare = (directory: string): Prepared => {
  const make = (name: string) => openSync(join(directory, name), exclusive | constants.O_RDWR, 0o600);
  const room = make(fileNames.room);
  writeSync(room, ' '.repeat(roomForEnd));
  fsyncSync(room);
  closeSync(make(fileNames.cancelRoom));
  return { stdout: make(fileNames.stdout), stderr: make(fileNames.stderr), room };
};

export type Taken = { readonly kind: 'taken'; readonly files: Prepared } | { readonly kind: 'gone' };

/** Takes a job over. Throws what the file system throws; `gone`: somebody else has it, or has given it up. */
export const takeJob = async (directory: string): Promise<Taken> => {
  const files = prepare(directory);
  const record = encode({ watcher: ownIdentity() });
  return (await writeOnce(join(directory, fileNames.watcher), record))
    ? { kind: 'taken', files }
    : /* defence: job-is-started-by-one */ { kind: 'gone' };
};

/** Overwrites the room in place, and gives it its name: neither asks for more of the disk. */
const recordEnd = async (directory: string, { stdout, stderr, room }: Prepared, end: EndRecord) => {
  const text = encode(end);
  for (const output of [stdout, stderr]) fsyncSync(output);
  writeSync(room, text.padEnd(roomForEnd), 0);
  fsyncSync(room);
  renameSync(join(directory, fileNames.room), join(directory, fileNames.end));
  await syncDirectory(directory);
};

const recordEndInTime = async (directory: string, files: Prepared, end: EndRecord): Promise<boolean> => {
  const deadline = performance.now() + recordPatience;
  for (let wait = 100; ; wait = Math.min(wait * 2, 10_000)) {
    try {
      await recordEnd(directory, files, end);
      return true;
    } catch (error) {
      // Removed together with its directory: nobody wants to know any more.
      if (codeOf(error) === 'ENOENT' || performance.now() > deadline) return false;
      await delay(wait);
    }
  }
};

const outputLost = (out: FileCapture, error: FileCapture): string | undefined => {
  const code = out.failed() ?? error.failed();
  return code === undefined ? undefined : `output could not be kept: ${code}`;
};

/** What tells a job's program from any other process when this one is gone. */
const noteProgram = (directory: string, record: ProgramRecord): void => {
  try {
    writeFileSync(join(directory, `${fileNames.program}.new`), encode(record), { mode: 0o600 });
    renameSync(join(directory, `${fileNames.program}.new`), join(directory, fileNames.program));
  } catch {
    // On a full disk the program runs all the same; only after a violent end of this process it cannot be identified.
  }
};

/** Cancels when it is asked for, and shows that this process lives. */
const attend = (directory: string, cancel: () => void): (() => void) => {
  const look = (): void => {
    if (existsSync(join(directory, fileNames.cancel))) cancel();
  };
  const live = (): void => {
    const now = new Date();
    try {
      utimesSync(join(directory, fileNames.watcher), now, now);
    } catch {
      // The directory is gone; the program is let to its end.
    }
  };
  look();
  const timers = [setInterval(look, cancelInterval), setInterval(live, lifeInterval)];
  return () => {
    for (const timer of timers) clearInterval(timer);
  };
};

const ended = ({ end, stopped, pipesHeldBy }: ProcessOutcome) => ({
  end,
  stopped,
  pipesHeldBy: pipesHeldBy?.slice(0, largestHolders),
});

/**
 * Runs the program of a job that this process has taken over, and records its end. SIGTERM, SIGINT and SIGHUP end the
 * program, as a shutdown does, and the job is `lost`. Whether the end could be recorded.
 */
export const watchJob = async ({ directory, program }: WatchOrder, files: Prepared): Promise<boolean> => {
  const controller = new AbortController();
  let interrupted: string | undefined;
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
    process.on(signal, () => {
      interrupted ??= signal;
      controller.abort();
    });
  const stopAttending = attend(directory, () => controller.abort());
  const captures = {
    stdout: fileCapture(files.stdout, program.maxOutput),
    stderr: fileCapture(files.stderr, program.maxOutput),
  };
  const outcome = await childProcessRunner({
    capture: (stream) => captures[stream],
    onPipes: (pipes) => noteProgram(directory, { pipes, process: undefined }),
    onStart: ({ pid, pipes }: StartedProgram) => noteProgram(directory, { pipes, process: identityOf(pid) }),
  }).run({ ...program, signal: controller.signal });
  stopAttending();

  const { stdout, stderr } = captures;
  const about = { finishedAt: Date.now(), stdout: stdout.kept(), stderr: stderr.kept() };
  const cancelled = outcome.match(
    ({ stopped }) => stopped === 'cancelled',
    () => controller.signal.aborted,
  );
  const end: EndRecord =
    cancelled && interrupted !== undefined
      ? {
          ...about,
          status: 'lost',
          reason: `${interrupted} ended what watched over it, and the program with it`,
        }
      : {
          ...about,
          status: cancelled ? 'cancelled' : 'done',
          result: outcome.match(ended, ({ reason }) => ({ notRun: reason })),
          outputLost: outputLost(stdout, stderr),
        };
  const recorded = await recordEndInTime(directory, files, end);
  for (const descriptor of [files.stdout, files.stderr, files.room]) closeSync(descriptor);
  return recorded;
};
