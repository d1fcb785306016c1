import { processOutcome } from '../../../src/adapters/memory/process-runner.js';
import type { ProcessOutcome, ProcessRequest } from '../../../src/ports/process-runner.js';
import { deferred } from '../network/network.js';

/** A program of the memory runner that runs until the test lets it end. */
export function gatedProgram() {
  const runs: {
    readonly request: ProcessRequest;
    readonly print: (stream: 'stdout' | 'stderr', content: string | Uint8Array) => Promise<void>;
    readonly end: (outcome?: ProcessOutcome) => void;
  }[] = [];
  let arrived = deferred();
  const program = async (
    request: ProcessRequest,
    print: (stream: 'stdout' | 'stderr', content: string | Uint8Array) => Promise<void>,
  ): Promise<ProcessOutcome> => {
    const outcome = deferred<ProcessOutcome>();
    runs.push({ request, print, end: (how = processOutcome(0, 'out', 'err')) => outcome.resolve(how) });
    arrived.resolve();
    return outcome.promise;
  };
  /** The n-th run, counted from 0, as soon as it has begun. */
  const run = async (index = 0) => {
    for (;;) {
      const found = runs[index];
      if (found) return found;
      arrived = deferred();
      await arrived.promise;
    }
  };
  return { program, runs, run };
}
