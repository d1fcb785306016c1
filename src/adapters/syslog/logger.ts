import { spawn } from 'node:child_process';
import { Socket } from 'node:net';

/** A `logger` that runs. It keeps nothing alive: neither the event loop nor, once it is released, anything else. */
export interface LoggerProcess {
  /** `taken` is called once the text is out of this process; not if that never happens. */
  write(text: string, taken: () => void): void;
  /** Ends its input: it delivers what it has, then ends. */
  end(): void;
  /** Leaves it alone with what it has. */
  release(): void;
}

/** Bytes of a message. More than any line has, for what `logger` cuts off would stand as a message of its own. */
const maxMessage = 65_536;

/** What the program gets of the environment; nothing that may hold a secret. */
function environment(): Record<string, string> {
  const { PATH = '/usr/sbin:/usr/bin:/sbin:/bin', TZ } = process.env;
  return { PATH, LC_ALL: 'C', ...(TZ !== undefined && { TZ }) };
}

/**
 * Starts `logger` of util-linux, which reads lines with a `<priority>` in front. Node itself has no Unix datagram sockets.
 * In a session of its own, so that a Ctrl-C on the terminal does not take the last lines with it.
 * @param onEnd called once, undefined for a good end, else why it ended or could not be started
 */
export function startLogger(
  program: string,
  options: { readonly tag: string; readonly socket: string | undefined },
  onEnd: (why: { readonly reason: string; readonly started: boolean } | undefined) => void,
): LoggerProcess {
  const { tag, socket } = options;
  const args = [
    '--prio-prefix',
    '--socket-errors=on',
    `--size=${maxMessage}`,
    `--tag=${tag}`,
    `--id=${process.pid}`,
    ...(socket === undefined ? [] : [`--socket=${socket}`]),
  ];
  const child = spawn(program, args, {
    cwd: '/',
    detached: true,
    env: environment(),
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const { stdin } = child;
  let over = false;
  const ended: typeof onEnd = (why) => {
    if (over) return;
    over = true;
    stdin.destroy();
    onEnd(why);
  };
  child.once('error', (error: NodeJS.ErrnoException) =>
    ended({ reason: `${program}: ${error.code ?? error.message}`, started: false }),
  );
  child.once('exit', (code, signal) =>
    ended(code === 0 ? undefined : { reason: `${program} ended with ${signal ?? code}`, started: true }),
  );
  // It ends, and the exit says why.
  stdin.on('error', () => undefined);
  const release = () => {
    child.unref();
    if (stdin instanceof Socket) stdin.unref();
  };
  release();
  return {
    write: (text, taken) => {
      stdin.write(text, (error) => {
        if (!error && !over) taken();
      });
    },
    end: () => stdin.end(),
    release: () => {
      over = true;
      release();
      stdin.destroy();
    },
  };
}
