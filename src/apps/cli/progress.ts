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
/** Milliseconds without an answer after which a single host has a line, too. */
const patience = 2000;

/** What of standard output is used. */
type Screen = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

/** Whether people are watching: standard output is a terminal, and they did not ask for plain text. */
const isDecorated = (stream: { readonly isTTY?: boolean }): boolean =>
  stream.isTTY === true && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb';

/**
 * A line that tells how far hosts have come and disappears into the result; for a single host it appears after 2 s. None for
 * JSON, off a terminal, or with `NO_COLOR`.
 */
function progress(hosts: number, json: boolean, stream: Screen): Progress {
  if (json || !isDecorated(stream)) return { done: () => undefined, end: () => undefined };
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
  let timer: NodeJS.Timeout | undefined;
  const begin = () => {
    timer = setInterval(draw, refresh);
    draw();
  };
  const late = hosts < 2 ? setTimeout(begin, patience) : undefined;
  if (!late) begin();
  return {
    done(host, failed, rtt) {
      finished += 1;
      if (failed) failures += 1;
      if (!slowest || rtt > slowest.rtt) slowest = { host, rtt };
      if (timer) draw();
    },
    end() {
      clearTimeout(late);
      if (!timer) return;
      clearInterval(timer);
      stream.write('\r\x1b[K');
    },
  };
}

/**
 * Draws while the work goes on, and takes the line away before its result is there.
 * @param hosts 0: it is not known how many there are, and they count as a single one
 */
export function withProgress<T, E>(
  hosts: number,
  json: boolean,
  work: (done: Progress['done']) => ResultAsync<T, E>,
  stream: Screen = process.stdout,
): ResultAsync<T, E> {
  const { done, end } = progress(hosts, json, stream);
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
  if (total < 2) return `waiting for an answer, ${seconds(elapsed)}`;
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
