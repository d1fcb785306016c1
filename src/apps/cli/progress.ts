import type { WriteStream } from 'node:tty';
import type { ResultAsync } from 'neverthrow';

/** What is drawn of a fan-out while it goes on. */
interface Progress {
  /** One host has answered. */
  done(host: string, failed: boolean, rtt: number): void;
  /** Removes the line; what is printed afterwards stands where it stood. */
  end(): void;
}

const refresh = 250;

/** Whether people are watching: standard output is a terminal, and they did not ask for plain text. */
const isDecorated = (stream: { readonly isTTY?: boolean }): boolean =>
  stream.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb';

/**
 * A line that tells how far several hosts have come and disappears into the result. None for a single host, for JSON, off
 * a terminal, or with `NO_COLOR`.
 */
function progress(hosts: number, json: boolean): Progress {
  const stream: WriteStream = process.stdout;
  if (hosts < 2 || json || !isDecorated(stream)) return { done: () => undefined, end: () => undefined };
  const started = performance.now();
  let finished = 0;
  let failures = 0;
  let slowest: { host: string; rtt: number } | undefined;
  const draw = () => {
    const line = progressLine({
      total: hosts,
      finished,
      failures,
      slowest,
      elapsed: performance.now() - started,
    });
    stream.write(`\r\x1b[K${line.slice(0, Math.max(10, (stream.columns || 80) - 1))}`);
  };
  const timer = setInterval(draw, refresh);
  draw();
  return {
    done(host, failed, rtt) {
      finished += 1;
      if (failed) failures += 1;
      if (!slowest || rtt > slowest.rtt) slowest = { host, rtt };
      draw();
    },
    end() {
      clearInterval(timer);
      stream.write('\r\x1b[K');
    },
  };
}

/** Draws while the work goes on, and takes the line away before its result is there. */
export function withProgress<T, E>(
  hosts: number,
  json: boolean,
  work: (done: Progress['done']) => ResultAsync<T, E>,
): ResultAsync<T, E> {
  const { done, end } = progress(hosts, json);
  return work(done)
    .map((value) => {
      end();
      return value;
    })
    .mapErr((error) => {
      end();
      return error;
    });
}

/** The line itself. */
export function progressLine(state: {
  readonly total: number;
  readonly finished: number;
  readonly failures: number;
  readonly slowest: { readonly host: string; readonly rtt: number } | undefined;
  /** Milliseconds. */
  readonly elapsed: number;
}): string {
  const { total, finished, failures, slowest, elapsed } = state;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  return [
    `${finished}/${total} done`,
    `${failures} failed`,
    `${total - finished} running`,
    ...(slowest ? [`slowest ${slowest.host} ${seconds(slowest.rtt)}`] : []),
    seconds(elapsed),
  ].join(', ');
}

const paint = (code: number) => (text: string) =>
  isDecorated(process.stdout) ? `\x1b[${code}m${text}\x1b[0m` : text;

export const green: (text: string) => string = paint(32);
export const red: (text: string) => string = paint(31);
