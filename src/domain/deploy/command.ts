/** A program and its arguments, as they are executed: no shell reads them. */
export interface Command {
  /** An absolute path, or a name that is looked for in the PATH. */
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

/** Where a program may be, in the order of the PATH; relative directories of a PATH are passed over. */
export function programCandidates(program: string, searchPath: string): readonly string[] {
  if (program.startsWith('/')) return [program];
  const directories = searchPath.split(':').filter((directory) => directory.startsWith('/'));
  return directories.map((directory) => `${directory.replace(/\/+$/, '')}/${program}`);
}

/** How a command is shown to people. */
export const commandText = ({ program, args }: Command): string => [program, ...args].join(' ');
