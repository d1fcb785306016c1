import { userInfo } from 'node:os';
import { err, ok, type Result, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { parseTagFilter } from '../../domain/runs/tags.js';
import type { Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
import type { Asking } from '../../sdk/dispatcher/fleet/ask.js';
import { readNamedFile } from '../named-file.js';

/** Options of the commands that ask agents. */
export interface AskOptions {
  readonly json?: boolean;
  readonly port?: number;
  readonly username?: string;
  readonly token?: string;
  readonly tokenFile?: string;
}

export type TargetOptions = AskOptions & { readonly tags?: string };

/** What is to be run. */
export interface Ordered {
  readonly hosts: readonly string[];
  readonly script: string;
  readonly args: readonly string[];
  /** Seconds. */
  readonly timeout?: number;
}

const invalid = (field: string, reason: string): CtrlExecError<'invalid_argument'> =>
  failure('invalid_argument', `${field}: ${reason}`, { field, reason });

/** The token: of the option, the file, or the environment. */
function tokenOf(options: AskOptions): Result<string, CtrlExecError> {
  if (options.token !== undefined && options.tokenFile !== undefined)
    return err(invalid('--token', 'give either --token or --token-file'));
  if (options.tokenFile === undefined) return ok(options.token ?? process.env['ENVEXEC_TOKEN'] ?? '');
  try {
    const [line = ''] = readNamedFile(options.tokenFile)
      .replace(/^\uFEFF/, '')
      .split(/\r?\n/, 1);
    return line === '' ? err(invalid('--token-file', `${options.tokenFile} is empty`)) : ok(line);
  } catch (thrown) {
    const { code = 'unknown' } = thrown as NodeJS.ErrnoException;
    return err(invalid('--token-file', `${options.tokenFile} cannot be read (${code})`));
  }
}

/** The user's name by the system; empty for one that has none. */
function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    return '';
  }
}

/** Who asks: as the options say, else as the environment does. */
export const asking = (options: AskOptions): Result<Asking, CtrlExecError> =>
  tokenOf(options).map((token) => ({
    caller: { username: options.username ?? process.env['USER'] ?? ownName(), token },
    ...(options.port !== undefined && { port: options.port }),
  }));

/** The hosts that are named, or those that have the tags; never both. @param all every agent, where there are neither */
export const targets = (
  dispatcher: Dispatcher,
  named: readonly string[],
  tags: string | undefined,
  all = false,
): ResultAsync<readonly string[], CtrlExecError> =>
  (tags === undefined ? ok(undefined) : parseTagFilter(tags))
    .asyncAndThen((filter) =>
      dispatcher.targets({
        ...((named.length > 0 || !(filter || all)) && { hosts: named }),
        ...(filter && { tags: filter }),
        all,
      }),
    )
    .mapErr((error) => inWordsOfOptions(error, tags));

/** What is wrong with the targets, by the names that the command has for them. */
function inWordsOfOptions(error: CtrlExecError, tags: string | undefined): CtrlExecError {
  if (error.code !== 'invalid_argument') return error;
  if (error.field === 'hosts') return invalid('--tags', 'name hosts or tags, not both');
  return error.reason === 'no agent'
    ? invalid('--tags', `no agent has the tags ${tags}; discovery refreshes what is known of them`)
    : error;
}
