import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { hex } from '../../domain/core/bytes.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { commandText } from '../../domain/deploy/command.js';
import { whyNotCommand } from '../../domain/deploy/policy.js';
import { deploymentTarget } from '../../domain/deploy/targets.js';
import type { PendingDeployment, RecordedFile } from '../../ports/deployment-journal.js';
import { findProgram, runCommand } from './commands.js';
import type { DeployContext } from './context.js';
import { holding } from './holding.js';
import { placeOrDiscard, stageBefore } from './run.js';

/** What is at the place of a recorded file: what was there before, what was deployed, or what somebody else has put there. */
type Present = 'before' | 'after' | 'other';

/** Of a reload for one deployment, its own among them: a command that ends this process does so no more often. */
const mostReloads = 2;

/**
 * Undoes deployments that a crash interrupted: what they had replaced comes back, and the service is told to reload where it may have
 * read the new files. To be called once, before the first deployment. The answer says what was done, a line each; what could not
 * be undone is among it and begins with `ROLLBACK FAILED`. It is tried again the next time, but a reload is tried twice at most.
 */
export function recoverDeployments(context: DeployContext): ResultAsync<readonly string[], CtrlExecError> {
  return context.deploymentJournal
    .pending()
    .mapErr((error): CtrlExecError => error)
    .andThen((pending) =>
      ResultAsync.fromSafePromise(
        (async () => {
          const lines: string[] = [];
          for (const each of pending)
            lines.push(
              'problem' in each
                ? `ROLLBACK FAILED of an interrupted deployment: ${each.problem}`
                : await holding(context, (held) => recover(held, each)),
            );
          return lines;
        })(),
      ),
    );
}

async function recover(context: DeployContext, pending: PendingDeployment): Promise<string> {
  const { deploymentFiles: files, deploymentJournal: journal } = context;
  const { id, record } = pending;
  const what = `an interrupted deployment to ${record.targetType} (${record.files.map(({ path }) => path).join(', ')})`;
  const failed = (reason: string) =>
    `ROLLBACK FAILED of ${what}: ${reason}; backups: ${journal.location(id)}`;
  const paths = record.files.map(({ path }) => path);
  await files.sweep(paths);

  const present = new Map<RecordedFile, Present>();
  for (const file of record.files) {
    const state = await presence(context, file);
    if (state.isErr()) return failed(state.error.message);
    present.set(file, state.value);
  }
  if ([...present.values()].includes('other')) {
    const ended = await setAside(context, id);
    if (ended.isErr()) return failed(ended.error.message);
    return `left ${what} alone: somebody has changed the files since; backups: ${journal.location(id)}`;
  }

  const outdated = record.files.filter((file) => present.get(file) === 'after');
  for (const file of outdated) {
    const restored =
      file.before === undefined
        ? await files.remove(file.path)
        : await stageBefore(context, file).andThen((staged) => placeOrDiscard(context, staged));
    if (restored.isErr()) return failed(restored.error.message);
  }
  const synced = await files.sync(paths);
  if (synced.isErr()) return failed(synced.error.message);

  const isReloaded = outdated.length > 0 || pending.reloads > 0;
  if (isReloaded) {
    const reloaded = await reload(context, pending);
    if (reloaded.isErr()) return failed(`the previous files are back, but ${reloaded.error}`);
  }
  const forgotten = await journal.forget(id);
  if (forgotten.isErr()) return failed(forgotten.error.message);
  if (!isReloaded) return `${what} had changed nothing`;
  return `rolled back ${what}${record.reload === undefined ? '' : ', and reloaded the service'}`;
}

/** Runs the reload of a record. It is noted first: what ends this process, or the host, is not done at every start. The error is a reason. */
async function reload(
  context: DeployContext,
  { id, record, reloads }: PendingDeployment,
): Promise<Result<void, string>> {
  const { deploymentJournal: journal } = context;
  if (record.reload === undefined) return ok(undefined);
  const allowed = deploymentTarget(record.targetType)
    .mapErr(({ message }) => message)
    .andThen(({ defaults }) => {
      const why = record.reload && whyNotCommand(context.policy, defaults, record.reload);
      return why === undefined ? ok(undefined) : err(why);
    });
  // defence: recovery-runs-allowed-commands
  if (allowed.isErr()) return err(allowed.error);
  const command = await findProgram(context, record.reload);
  // defence: recovery-judges-programs
  if (command.isErr()) return err(command.error);
  const text = `"${commandText(record.reload)}"`;
  // defence: reload-at-most-twice
  if (reloads >= mostReloads) {
    const aside = await setAside(context, id);
    return err(
      aside.isOk()
        ? `${text} was begun ${reloads} times and is not tried again: run it yourself. The record is set aside`
        : aside.error.message,
    );
  }
  const noted = await journal.noteReload(id);
  if (noted.isErr()) return err(noted.error.message);
  return runCommand(context, command.value.command);
}

/** It is pending no more; what it replaced stays as a backup. */
const setAside = ({ deploymentJournal }: DeployContext, id: string) =>
  deploymentJournal.end(id, Number.MAX_SAFE_INTEGER);

/** A file that was there and is not now was taken by nobody but somebody else: a deployment never leaves a gap. */
function presence(
  { deploymentFiles, crypto }: DeployContext,
  { path, before, after, inPlace }: RecordedFile,
): ResultAsync<Present, CtrlExecError<'file_failed'>> {
  return deploymentFiles.look(path).map(({ path: now, state }) => {
    if (now !== path) return 'other';
    if (state === undefined) return before === undefined ? 'before' : 'other';
    const digest = hex(crypto.sha256(state.content));
    if (before !== undefined && digest === hex(crypto.sha256(before.content))) return 'before';
    // What was written in place may have been cut off at any byte.
    return digest === after || (inPlace === true && state.isMounted === true) ? 'after' : 'other';
  });
}
