import { printable } from '../../../domain/core/names.js';
import { openFilesVariable } from '../open-files.js';
import { killGroup } from '../process-group.js';
import { startProgram } from '../start.js';
import { later } from '../timer.js';
import { encodeOrder, taken, type WatchOrder } from './order.js';

/** How to start what watches over a job. */
interface WatcherProgram {
  readonly path: string;
  readonly args: readonly string[];
}

interface Launched {
  /** `taken`: a watcher has it, and outlives this process. Otherwise why not, as far as is known. */
  readonly outcome: 'taken' | { readonly failed: string };
  /** Resolves when the watcher has ended. */
  readonly exit: Promise<unknown>;
}

const path = '/usr/sbin:/usr/bin:/sbin:/bin';
const noExit = Promise.resolve();

/** Starts a watcher and waits until it has taken the job, has ended, or `patience` milliseconds are over: then it is killed. */
export const launchWatcher = async (
  watcher: WatcherProgram,
  order: WatchOrder,
  patience: number,
): Promise<Launched> => {
  const started = await startProgram({
    ...watcher,
    env: { PATH: path, ...openFilesVariable() },
    input: encodeOrder(order),
    inputTimeout: patience,
    output: 'capture',
  });
  if (started.isErr()) return { outcome: { failed: started.error }, exit: noExit };
  const { pid, outputs, exit, unref } = started.value;
  const said = ['', ''];
  const outcome = await new Promise<Launched['outcome']>((resolve) => {
    const cancel = later(patience, () => {
      killGroup(pid);
      resolve({ failed: `it did not begin within ${patience / 1000} s` });
    });
    const settle = (how: Launched['outcome']): void => {
      cancel();
      resolve(how);
    };
    for (const [index, output] of outputs.entries())
      output.on('data', (chunk: Buffer) => {
        said[index] = `${said[index]}${chunk.toString()}`.slice(0, 4096);
        if (said[0]?.startsWith(taken)) settle('taken');
      });
    void exit.then((ending) =>
      // What it said last may still be on its way.
      setImmediate(() => {
        if (said[0]?.startsWith(taken)) return settle('taken');
        const how = ending.kind === 'exited' ? `exit ${ending.code}` : ending.signal;
        settle({ failed: printable(said[1]?.trim().split('\n').at(-1) || how, 300) });
      }),
    );
  });
  for (const output of outputs) output.destroy();
  unref();
  return { outcome, exit };
};
