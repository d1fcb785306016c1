import { err, ok, type Result } from 'neverthrow';
import { believe } from '../../domain/core/file-trust.js';
import {
  type Command,
  commandText,
  programCandidates,
  searchDirectories,
} from '../../domain/deploy/command.js';
import { judge } from '../core/trusted-files.js';
import type { DeployContext } from './context.js';

const timeout = 120_000;

/** A command with the path of its program, and what is to be said of that. */
interface FoundProgram {
  readonly command: Command;
  readonly warnings: readonly string[];
}

/** Finds the program of a command; no other account can change it. The error is a reason. */
export async function findProgram(
  { files, policy }: DeployContext,
  command: Command,
): Promise<Result<FoundProgram, string>> {
  for (const path of programCandidates(command.program)) {
    if (!(await files.isExecutable(path)).unwrapOr(false)) continue;
    const judged = await judge(files, [path]);
    const trusted = judged.andThen((found) => believe(found, policy.fileTrust));
    // defence: pull-programs-are-trusted
    if (trusted.isErr()) return err(trusted.error.message);
    return ok({ command: { ...command, program: path }, warnings: trusted.value });
  }
  return err(`there is no program ${command.program}`);
}

/**
 * Runs a command of a target, two minutes at most. The error is a reason. What the command printed is not in it: it goes to
 * the control plane, and is none of its business.
 */
export async function runCommand(
  { runner, environment }: DeployContext,
  command: Command,
): Promise<Result<void, string>> {
  const outcome = await runner.run({
    path: command.program,
    args: command.args,
    env: { ...environment, PATH: searchDirectories.join(':') },
    stdin: new Uint8Array(),
    stdinTimeout: 1000,
    timeout,
    maxOutput: 4096,
  });
  if (outcome.isErr()) return err(outcome.error.message);
  const { end, stopped } = outcome.value;
  const text = `"${commandText(command)}"`;
  if (stopped === 'timeout') return err(`${text} did not end within ${timeout / 1000} s`);
  if (end.kind === 'signalled') return err(`${text} was ended by ${end.signal}`);
  return end.code === 0 ? ok(undefined) : err(`${text} exited with ${end.code}`);
}
