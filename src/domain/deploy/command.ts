/** A program and its arguments, as they are executed: no shell reads them. */
export interface Command {
  /** An absolute path, or a name that is looked for in `searchDirectories`. */
  readonly program: string;
  readonly args: readonly string[];
}

const longest = 4096;

/** What means something to a shell, quotes and `\` too: a command that is accepted means the same with a shell and without. */
const metacharacter = /[;&|$`(){}<>*?[\]~#!"'\\]/;
const otherThanPrintable = /[^\x20-\x7e\t\u00a0-\u{10ffff}]|\p{Surrogate}/u;

/**
 * Splits a command at spaces and tabs, without a shell. Undefined: it holds a metacharacter, a control character or nothing
 * at all, is longer than 4,096 characters, or begins with a relative path or a variable.
 */
export function parseCommand(text: string): Command | undefined {
  if (text.length > longest || metacharacter.test(text) || otherThanPrintable.test(text)) return undefined;
  const [program, ...args] = text.split(/[ \t]+/).filter((word) => word !== '');
  if (program === undefined || program.startsWith('-') || program.includes('=')) return undefined;
  if (program.includes('/') && !program.startsWith('/')) return undefined;
  return { program, args };
}

/** Where the programs of commands are looked for, and nowhere else. Their own PATH is the same. */
export const searchDirectories = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'] as const;

/** Where a program may be, in the order in which it is looked for. */
export const programCandidates = (program: string): readonly string[] =>
  program.startsWith('/') ? [program] : searchDirectories.map((directory) => `${directory}/${program}`);

/** How a command is shown to people. */
export const commandText = ({ program, args }: Command): string => [program, ...args].join(' ');
