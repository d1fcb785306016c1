import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { codeOf } from '../shared/system-code.js';
import { prepareDaemon } from './inherited-descriptors.js';
import { decodeOrder, taken } from './jobs/order.js';
import { takeJob, watchJob } from './jobs/watch.js';

/**
 * The program that watches over one job: started by `supervisedJobs` for itself alone, in a session of its own, told
 * everything on its standard input. It outlives whoever started it, and ends with the job.
 */
const say = (descriptor: 1 | 2, line: string): void => {
  try {
    writeSync(descriptor, line);
  } catch {
    // Who started it is gone already.
  }
};

/** /dev/null in the place of the standard streams: the lowest free numbers are given out first. */
const letGo = (): void => {
  for (const descriptor of [0, 1, 2]) {
    closeSync(descriptor);
    openSync('/dev/null', 'r+');
  }
};

const main = async (): Promise<number> => {
  prepareDaemon();
  const order = decodeOrder(readFileSync(0, 'utf8'));
  if (order === undefined) {
    say(2, 'what it is to do cannot be read\n');
    return 1;
  }
  try {
    const took = await takeJob(order.directory);
    if (took.kind === 'gone') return 0;
    say(1, taken);
    letGo();
    return (await watchJob(order, took.files)) ? 0 : 1;
  } catch (error) {
    say(2, `${order.directory}: ${codeOf(error)}\n`);
    return 1;
  }
};

process.exitCode = await main();
// What is left to do keeps this process by itself: children of the program that ignore SIGTERM have 5 s until SIGKILL.
setTimeout(() => process.exit(), 15_000).unref();
