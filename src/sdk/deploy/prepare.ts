import { err, ok, type Result } from 'neverthrow';
import { utf8 } from '../../domain/core/bytes.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { Command } from '../../domain/deploy/command.js';
import { deploymentFailure } from '../../domain/deploy/failure.js';
import { type FileChange, isUnchanged } from '../../domain/deploy/plan.js';
import type { Installation, WantedFile } from '../../domain/deploy/targets/target.js';
import { findProgram } from './commands.js';
import type { DeployContext } from './context.js';
import type { CheckedMaterial } from './material.js';
import type { PreparedDeployment } from './run.js';

interface Prepared {
  readonly deployment: PreparedDeployment;
  readonly warnings: readonly string[];
}

/** Finds out what has to change for an installation, and whether its commands are there. Touches nothing. */
export async function prepareDeployment(
  context: DeployContext,
  targetType: string,
  installation: Installation,
  material: CheckedMaterial,
): Promise<Result<Prepared, CtrlExecError<'deployment_failed'>>> {
  const refuse = (step: 'stage' | 'validate' | 'reload', reason: string) =>
    err(
      deploymentFailure({
        target: targetType,
        step,
        reason,
        begun: [],
        undoFailures: [],
        backups: undefined,
        verification: undefined,
        afterwards: undefined,
      }),
    );
  const looked: FileChange[] = [];
  for (const wanted of installation.files) {
    const found = await lookAt(context, wanted);
    if (found.isErr()) return refuse('stage', found.error);
    if (looked.some(({ path }) => path === found.value.path))
      return refuse('stage', `${found.value.path} is meant by two of the configured paths`);
    looked.push(found.value);
  }
  const changes = looked.filter(({ before, content }) => !isUnchanged(before, content));
  const commands: Partial<Record<'validate' | 'reload', Command>> = {};
  for (const kind of changes.length === 0 ? [] : (['validate', 'reload'] as const)) {
    const command = installation[kind];
    const program = command === undefined ? ok(undefined) : await findProgram(context, command);
    if (program.isErr()) return refuse(kind, program.error);
    if (program.value !== undefined) commands[kind] = program.value;
  }
  const { adminApi, verification, backups } = installation;
  const { validate, reload } = commands;
  return ok({
    deployment: { targetType, material, changes, validate, reload, adminApi, verification, backups },
    warnings: [...installation.warnings, ...keyWarnings(installation.files, looked)],
  });
}

async function lookAt(
  { deploymentFiles }: DeployContext,
  wanted: WantedFile,
): Promise<Result<FileChange, string>> {
  const found = await deploymentFiles.look(wanted.path);
  if (found.isErr()) return err(found.error.message);
  const { path, state } = found.value;
  if (wanted.within !== undefined) {
    const directory = await deploymentFiles.realDirectory(wanted.within);
    if (directory.isErr()) return err(directory.error.message);
    if (!path.startsWith(`${directory.value.replace(/\/$/, '')}/`))
      return err(`${wanted.path} is a link that leads out of ${wanted.within}`);
  }
  return ok({
    path,
    content: utf8(wanted.content),
    mode: wanted.mode ?? state?.mode ?? (wanted.secret ? 0o640 : 0o644),
    owner: wanted.owner ?? state?.uid,
    group: wanted.group ?? state?.gid,
    before: state,
  });
}

/** Keys that everybody on the host may read or write. */
const keyWarnings = (wanted: readonly WantedFile[], looked: readonly FileChange[]): readonly string[] =>
  looked
    .filter(({ mode }, index) => wanted[index]?.secret === true && (mode & 0o007) !== 0)
    .map(({ path, mode }) => `${path} holds a private key and has mode 0${mode.toString(8)}`);
