import type { FileTrust } from '../core/file-trust.js';
import { type Command, commandText, searchDirectories } from './command.js';

/**
 * What the host allows its control plane beyond what the targets need by themselves. It stands in the section `[pull]` of the
 * configuration file and nowhere else: who may set an option or a variable is not asked here.
 */
export interface PullPolicy {
  readonly commands: readonly Command[];
  /** Directories. */
  readonly paths: readonly string[];
  /** Names or numbers of accounts. */
  readonly owners: readonly string[];
  /** Permission bits that a job may give to a file. */
  readonly maxFileMode: number;
  /** `host` or `host:port`, in lower case. */
  readonly verifyHosts: readonly string[];
  /** Files that are written in place, because they are mount points. */
  readonly inPlace: readonly string[];
  /** What becomes of programs that others than root and the own account can change. */
  readonly fileTrust: FileTrust;
  /** The configuration file, for messages. */
  readonly file: string;
}

/** What a kind of target needs, and is allowed without a line in the configuration. */
export interface TargetDefaults {
  /** A program without a slash may be named with any of the directories that programs are looked for in. */
  readonly commands: readonly Command[];
  /** Directories of its configuration. */
  readonly directories: readonly string[];
}

const defaultMaxFileMode = 0o644;
/** A file with a private key is never given more. */
const maxKeyMode = 0o640;

/** The policy of a host that allows nothing beyond the defaults. */
export const strictPolicy = (file: string): PullPolicy => ({
  commands: [],
  paths: [],
  owners: [],
  maxFileMode: defaultMaxFileMode,
  verifyHosts: [],
  inPlace: [],
  fileTrust: 'strict',
  file,
});

/** The whole line that allows one thing more. */
const lineWith = (key: string, allowed: readonly string[], more: string): string =>
  `${key} = ${[...allowed, more].join(', ')}`;

const advice = (policy: PullPolicy, key: string, allowed: readonly string[], more: string): string =>
  `is not allowed here: add it to ${key} in [pull] of ${policy.file}: ${lineWith(key, allowed, more)}`;

/** Why a command must not run; undefined: it may. */
export function whyNotCommand(
  policy: PullPolicy,
  { commands }: TargetDefaults,
  asked: Command,
): string | undefined {
  const same = (program: string, { program: allowed, args }: Command) =>
    program === allowed &&
    args.length === asked.args.length &&
    args.every((word, index) => word === asked.args[index]);
  const bare = searchDirectories.find((directory) => asked.program.startsWith(`${directory}/`));
  const name = bare === undefined ? asked.program : asked.program.slice(bare.length + 1);
  const isAllowed = (program: string) => policy.commands.some((each) => same(program, each));
  if (commands.some((each) => same(name, each)) || isAllowed(asked.program) || isAllowed(name))
    return undefined;
  const text = commandText(asked);
  if (text.includes(','))
    return `"${text}" is not allowed here, and has a comma, so that commands in [pull] of ${policy.file} cannot name it: put it into a script and allow that`;
  return `"${text}" ${advice(policy, 'commands', policy.commands.map(commandText), text)}`;
}

/** Whether a path is in one of the directories; both without links, without `.`, `..` and superfluous slashes. */
export const isWithin = (path: string, directories: readonly string[]): boolean =>
  directories.some((directory) => path.startsWith(directory === '/' ? '/' : `${directory}/`));

/** Why no file may be written in a directory that is not allowed. */
export function whyNotPath(policy: PullPolicy, path: string): string {
  const directory = path.slice(0, path.lastIndexOf('/')) || '/';
  return `${path} ${advice(policy, 'paths', policy.paths, directory)}`;
}

/** Why a file where something is mounted must not be written. */
export const whyNotInPlace = (policy: PullPolicy, path: string): string =>
  `${path} is a mount point, so no other file can take its place. To have it written in place, add it to replace in [pull] of ${policy.file}: ${lineWith('replace', [], `in-place ${[...policy.inPlace, path].join(', ')}`)}`;

/** Why an owner or a group must not be given. */
export const whyNotOwner = (policy: PullPolicy, account: string): string =>
  `the owner or group ${account} ${advice(policy, 'owners', policy.owners, account)}`;

const octal = (mode: number) => `0${mode.toString(8)}`;

/** Why a configured mode must not be given; undefined: it may. */
export function whyNotMode(
  policy: PullPolicy,
  path: string,
  mode: number,
  secret: boolean,
): string | undefined {
  // defence: pull-key-mode
  if (secret && (mode & ~maxKeyMode) !== 0)
    return `mode ${octal(mode)} is not allowed for ${path}, which holds a private key: at most ${octal(maxKeyMode)}`;
  // defence: pull-file-mode
  if ((mode & ~policy.maxFileMode) !== 0)
    return `mode ${octal(mode)} of ${path} is not allowed here: set max_file_mode in [pull] of ${policy.file}: max_file_mode = ${octal(mode | policy.maxFileMode)}`;
  return undefined;
}

/** The mode of a new file for which none is configured. */
export const newFileMode = (policy: PullPolicy, secret: boolean): number =>
  (secret ? maxKeyMode : defaultMaxFileMode) & policy.maxFileMode;

/** Whether an endpoint may be called whatever its address is. */
export const isVerifyHost = ({ verifyHosts }: PullPolicy, host: string, port: number): boolean => {
  const name = host.toLowerCase();
  const bracketed = name.includes(':') ? `[${name}]` : name;
  return verifyHosts.includes(bracketed) || verifyHosts.includes(`${bracketed}:${port}`);
};

/** Why an endpoint must not be called. */
export function whyNotEndpoint(policy: PullPolicy, host: string, port: number): string {
  const place = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return `a handshake with ${place}, which does not resolve to an address of this host, ${advice(policy, 'verify_hosts', policy.verifyHosts, place)}`;
}
