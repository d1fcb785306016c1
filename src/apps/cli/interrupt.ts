import { complain, type ExitCode } from '../command-line.js';

/** As a shell tells of a program that a signal has ended. */
const codes = { SIGINT: 130, SIGTERM: 143 } as const;

/** How a command gives up waiting at Ctrl-C: what was started goes on. A second signal ends it at once. */
export function interruptible() {
  const stop = new AbortController();
  let code: ExitCode | undefined;
  const onSignal = (signal: keyof typeof codes) => {
    code = codes[signal];
    stop.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal);
  return {
    signal: stop.signal,
    /** The exit code, where there was a signal; says what may go on, and how it is stopped. */
    interrupted(reqid: string, somewhere = true): ExitCode | undefined {
      if (code !== undefined)
        complain(
          somewhere
            ? `Interrupted: what has begun goes on. "ctrl-exec wait ${reqid}" waits for it, "ctrl-exec cancel ${reqid}" stops it.`
            : 'Interrupted: the script goes on nowhere.',
        );
      return code;
    },
    /** The same where nothing more is to be said. */
    code: () => code,
    end(): void {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal);
    },
  };
}
