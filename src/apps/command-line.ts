import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import type { CtrlExecError, ErrorCode } from '../domain/core/errors.js';

/** Exit codes of all commands; 64 and 78 are those of sysexits.h. */
export const exitCodes = { ok: 0, failed: 1, usage: 64, configuration: 78 } as const;

/** How a command ended. */
export type ExitCode = number;

/** A program whose own mistakes end with 64, and whose help with 0. */
export function program(name: string, description: string, version: string): Command {
  return new Command(name)
    .description(description)
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .showHelpAfterError('(--help shows what is possible)')
    .exitOverride()
    .configureHelp({
      sortSubcommands: false,
      showGlobalOptions: true,
      // Those of the program: what a command that has commands takes (`join-token --host`) is nothing to these.
      visibleGlobalOptions: (command) =>
        command.parent === null ? [] : programOf(command).options.filter((option) => !option.hidden),
      subcommandTerm: (command) => `${command.name()} ${argumentsOf(command)}`.trimEnd(),
    });
}

const programOf = (command: Command): Command => (command.parent ? programOf(command.parent) : command);

const argumentsOf = (command: Command): string =>
  command.registeredArguments
    .map((argument) => {
      const name = argument.name() + (argument.variadic ? '...' : '');
      return argument.required ? `<${name}>` : `[${name}]`;
    })
    .join(' ');

/** A command of a program, as a whole. @template Opened what it works on */
export interface CommandOf<Opened> {
  readonly name: string;
  readonly alias?: string;
  /** The title under which help lists it. */
  readonly group: string;
  readonly description: string;
  /** Of its help. */
  readonly example: string;
  /** Default: what commander makes of arguments and options. */
  readonly usage?: string;
  /** Each as commander writes it, and what it is. */
  readonly takes?: readonly (readonly [name: string, description?: string])[];
  readonly options?: (command: Command) => unknown;
  /** Whether it serves until it is stopped, without anybody in front of it. Default: it does not. */
  readonly daemon?: () => boolean;
  /** Whether it works where nothing is set up yet. Default: it does not. */
  readonly prepares?: true;
  readonly below?: readonly CommandOf<Opened>[];
  /**
   * Loads what it needs, works, and says what came of it. It is given arguments and options as commander has them, and with its own
   * options those of the command above it.
   */
  run(opened: Opened, ...given: never[]): Promise<ExitCode>;
}

/** Puts commands into a program. @param start opens what a command works on, and closes it at the end whatever happens */
export function addCommands<Opened>(
  program: Command,
  commands: readonly CommandOf<Opened>[],
  start: (command: CommandOf<Opened>, work: (opened: Opened) => Promise<ExitCode>) => Promise<void>,
): void {
  for (const definition of commands) {
    const { name, alias, group, description, example, usage, takes = [], below = [] } = definition;
    const command = program.command(name).description(description).helpGroup(`${group}:`);
    if (alias !== undefined) command.alias(alias);
    for (const [argument, what] of takes) command.argument(argument, what ?? '');
    definition.options?.(command);
    addCommands(command, below, start);
    // Of `help` alone nothing is to be said.
    const isBare = command.options.length === 0 && below.length === 0;
    if (usage !== undefined || isBare) command.usage(usage ?? argumentsOf(command));
    command.addHelpText('after', `\nExample:\n  ${example}`);
    command.action((...all: unknown[]) => {
      const above = program.parent === null ? {} : program.opts();
      const given = [...all.slice(0, -2), { ...above, ...command.opts() }];
      return start(definition, (opened) => definition.run(opened, ...(given as never[])));
    });
  }
}

/**
 * Which argument of this process is not UTF-8, counted from 1; 0 for none. Node gives such bytes as U+FFFD, so they would
 * reach a script as other ones. Where there is no /proc nobody can tell.
 */
function argumentThatIsNoText(): number {
  const suspect = process.argv.findIndex((argument) => argument.includes('\uFFFD'));
  if (suspect < 0) return 0;
  try {
    return isUtf8(readFileSync('/proc/self/cmdline')) ? 0 : suspect - 1;
  } catch {
    return 0;
  }
}

/** Parses and runs; the exit code is set, the process ends when nothing is left to do. */
export async function execute(command: Command, args: readonly string[]): Promise<void> {
  outliveReaders();
  const unreadable = argumentThatIsNoText();
  if (unreadable > 0) {
    complain(`argument ${unreadable} is not UTF-8: its bytes would not arrive as they are`);
    process.exitCode = exitCodes.usage;
    return;
  }
  try {
    await command.parseAsync([...args], { from: 'user' });
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    process.exitCode = thrown.exitCode === 0 ? exitCodes.ok : exitCodes.usage;
  }
}

/**
 * Whoever reads the output may go away at any time: a daemon works on without being read, and a command ends as if it
 * had been told so by SIGPIPE. Output that could not be written for another reason, such as a full disk, is said once on
 * standard error, and the command has failed.
 */
function outliveReaders(): void {
  let lost = false;
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      process.exitCode ??= exitCodes.failed;
      if (stream !== process.stdout || error.code === 'EPIPE' || lost) return;
      lost = true;
      complain(`cannot write to standard output: ${error.message}`);
    });
  process.on('exit', () => {
    if (lost && !process.exitCode) process.exitCode = exitCodes.failed;
  });
}

/** One line on standard error. */
export const complain = (message: string): void => {
  process.stderr.write(`${message}\n`);
};

/** One line on standard output. */
export const say = (message: string): void => {
  process.stdout.write(`${message}\n`);
};

/** The same; resolves to whether it was written. For what cannot be shown again. */
export const saySurely = (message: string): Promise<boolean> =>
  new Promise((resolve) => process.stdout.write(`${message}\n`, (error) => resolve(!error)));

/** Says what failed and gives the exit code for it. */
export function report(error: CtrlExecError): ExitCode {
  complain(error.message);
  return error.code === 'invalid_argument' ? exitCodes.usage : exitCodes.failed;
}

const forAPerson: readonly ErrorCode[] = [
  'config_invalid',
  'ca_missing',
  'identity_missing',
  'certificate_invalid',
  'file_failed',
];

/** The same of a daemon: 78 where starting it again changes nothing, and a person has to see to it. */
export function reportStart(error: CtrlExecError): ExitCode {
  complain(error.message);
  return forAPerson.includes(error.code) ? exitCodes.configuration : exitCodes.failed;
}

/** A whole number within bounds, for an option. */
export const wholeNumber =
  (min: number, max: number) =>
  (text: string): number => {
    const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`a whole number from ${min} to ${max} is expected.`);
    return value;
  };

/** One of a few words, for an option. */
export const oneOfWords =
  <W extends string>(...words: readonly W[]) =>
  (text: string): W => {
    const word = words.find((candidate) => candidate === text);
    if (!word)
      throw new InvalidArgumentError(
        words.length > 2 ? `expected one of ${words.join(', ')}.` : `${words.join(' or ')} is expected.`,
      );
    return word;
  };

/** Resolves at SIGINT or SIGTERM (with `hangUp` also at SIGHUP), or when `other` does; the handlers are gone afterwards. */
export function untilStopped(other?: Promise<unknown>, hangUp = false): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
      process.off('SIGHUP', stop);
      resolve();
    };
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
    if (hangUp) process.on('SIGHUP', stop);
    void other?.then(stop);
  });
}
