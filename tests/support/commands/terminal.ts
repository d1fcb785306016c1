import { spawnSync } from 'node:child_process';
import { type CommandName, type CommandOptions, commandFile, type Started, start } from './commands.js';

/** script(1) of util-linux gives a command a pseudo-terminal. */
const usable = spawnSync('script', ['-qfec', 'test -t 0', '/dev/null'], { timeout: 10_000 }).status === 0;

/** Why tests on a terminal cannot run here; undefined where they can. */
export const noTerminal = usable ? undefined : 'script(1) of util-linux is missing';

export const keys = { enter: '\r', ctrlC: '\x03', ctrlD: '\x04' } as const;

export interface OnTerminal extends Started {
  /** Types it, as it stands: a line ends with `keys.enter`. */
  type(text: string): void;
}

const quoted = (word: string) => `'${word.replaceAll("'", String.raw`'\''`)}'`;

/** Starts a command on a pseudo-terminal. What it shows, on both streams, is in `stdout`, with what was typed. */
export function startOnTerminal(
  command: CommandName,
  args: readonly string[],
  { home, env }: Pick<CommandOptions, 'home' | 'env'> = {},
): OnTerminal {
  const place = home === undefined ? [] : ['--home', home];
  const line = ['exec', process.execPath, commandFile(command), ...place, ...args].map(quoted).join(' ');
  const started = start(command, args, {
    env: { TERM: 'xterm', ...env },
    before: `exec script -qfec ${quoted(line.replace("'exec'", 'exec'))} /dev/null`,
  });
  return { ...started, type: (text) => void started.child.stdin?.write(text) };
}

/** What a person reads: without the sequences that move the cursor, lines ended as everywhere. */
export const readable = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what they are made of
  text.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r', '');
