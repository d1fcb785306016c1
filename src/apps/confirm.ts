import { createInterface } from 'node:readline';

/** Asks on standard error, reads one line of standard input; only `y` and `yes` are a yes, an ended input is a no. */
export async function confirm(question: string, signal?: AbortSignal): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  try {
    process.stderr.write(question);
    const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
    const stopped = new Promise<string>((resolve) =>
      signal?.addEventListener('abort', () => resolve(''), { once: true }),
    );
    const line = new Promise<string>((resolve) => lines.once('line', resolve));
    return /^y(es)?$/i.test((await Promise.race([line, ended, stopped])).trim());
  } finally {
    lines.close();
  }
}
