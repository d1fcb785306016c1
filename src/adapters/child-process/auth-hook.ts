import { statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { ResultAsync } from 'neverthrow';
import { type FileTrust, faultText, refusing } from '../../domain/core/file-trust.js';
import { type HookContext, type HookOutcome, hookInput, hookVariables } from '../../domain/runs/auth-hook.js';
import type { AuthHook } from '../../ports/auth-hook.js';
import type { FileSystem } from '../../ports/file-system.js';
import { homeDirectory } from './home.js';
import { killGroup } from './process-group.js';
import { startProgram } from './start.js';
import { later } from './timer.js';

export interface ProcessAuthHookOptions {
  /** Absolute path of the executable; undefined: there is no hook. */
  readonly path: string | undefined;
  readonly timeoutSeconds: number;
  readonly trust: FileTrust;
  readonly files: Pick<FileSystem, 'faults'>;
}

const notRun = (reason: string): HookOutcome => ({ kind: 'not-run', reason });

/** Why this file must not decide anything. Judged before every question: a hook can be replaced while the daemon runs. */
const distrust = async (
  path: string,
  { files, trust }: ProcessAuthHookOptions,
): Promise<string | undefined> => {
  if (!isAbsolute(path)) return `hook path ${path} is not absolute`;
  const judged = await files.faults(path);
  if (judged.isErr()) return `hook file ${path}: ${judged.error.reason}`;
  const fault = refusing(judged.value, trust);
  // defence: hook-is-trusted
  if (fault) return `hook ${path} is not trusted: ${faultText(fault)}`;
  try {
    return statSync(path).isFile() ? undefined : `hook ${path} is not a file`;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT'
      ? `hook file ${path} does not exist`
      : `hook file ${path}: ${code ?? 'unusable'}`;
  }
};

/** This process's variables, HOME among them, without any `ENVEXEC_*`: what the hook is told comes from the context alone. */
const ownEnvironment = (): Record<string, string> => {
  const own: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && !name.startsWith('ENVEXEC_')) own[name] = value;
  return { ...own, HOME: homeDirectory(process.env) };
};

const ask = async (
  path: string,
  options: ProcessAuthHookOptions,
  context: HookContext,
): Promise<HookOutcome> => {
  const { timeoutSeconds } = options;
  const distrusted = await distrust(path, options);
  if (distrusted !== undefined) return notRun(distrusted);
  const told = hookVariables(context);
  if ('nulIn' in told) return notRun(`NUL in ${told.nulIn}`);
  const env = { ...ownEnvironment(), ...told.variables };
  const timeout = timeoutSeconds * 1_000;
  const input = new TextEncoder().encode(hookInput(context));
  const program = { path, args: [], env, input, inputTimeout: timeout };
  const started = await startProgram({ ...program, output: 'discard' });
  if (started.isErr()) return notRun(started.error);

  const { pid, exit } = started.value;
  return new Promise((resolve) => {
    const cancelTimeout = later(timeout, () => {
      killGroup(pid);
      resolve({ kind: 'timed-out', seconds: timeoutSeconds });
    });
    void exit.then((ended) => {
      cancelTimeout();
      resolve(ended);
    });
  });
};

/**
 * The executable of wire-protocol 1.6: run without a shell, in a session of its own, at `/`. Its output goes to /dev/null.
 * When the time is up its whole group gets SIGKILL and the answer is given at once.
 */
export const processAuthHook = (options: ProcessAuthHookOptions): AuthHook => ({
  ask: (context) =>
    ResultAsync.fromSafePromise(
      options.path === undefined
        ? Promise.resolve<HookOutcome>({ kind: 'none' })
        : ask(options.path, options, context),
    ),
});
