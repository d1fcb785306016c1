import { ResultAsync } from 'neverthrow';
import { hex } from '../../domain/core/bytes.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { PendingDeployment, RecordedFile } from '../../ports/deployment-journal.js';
import { runCommand } from './commands.js';
import type { DeployContext } from './context.js';
import { stageBefore } from './run.js';

/** What is at the place of a recorded file: what was there before, what was deployed, or what somebody else has put there. */
type Present = 'before' | 'after' | 'other';

/**
 * Undoes deployments that a crash interrupted: what they had replaced comes back, and the service is told to reload where it may have
 * read the new files. To be called once, before the first deployment. The answer says what was done, a line each; what could not
 * be undone is among it, begins with `ROLLBACK FAILED`, and is tried again the next time.
 */
export function recoverDeployments(context: DeployContext): ResultAsync<readonly string[], CtrlExecError> {
  return context.deploymentJournal
    .pending()
    .mapErr((error): CtrlExecError => error)
    .andThen((pending) =>
      ResultAsync.fromSafePromise(
        (async () => {
          const lines: string[] = [];
          for (const each of pending) lines.push(await recover(context, each));
          return lines;
        })(),
      ),
    );
}

async function recover(
  context: DeployContext,
  { id, record, reloadNoted }: PendingDeployment,
): Promise<string> {
  const { deploymentFiles: files, deploymentJournal: journal } = context;
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
    const ended = await journal.end(id, Number.MAX_SAFE_INTEGER);
    if (ended.isErr()) return failed(ended.error.message);
    return `left ${what} alone: somebody has changed the files since; backups: ${journal.location(id)}`;
  }

  const outdated = record.files.filter((file) => present.get(file) === 'after');
  for (const file of outdated) {
    const restored =
      file.before === undefined
        ? await files.remove(file.path)
        : await stageBefore(context, file).andThen((staged) => files.place(staged));
    if (restored.isErr()) return failed(restored.error.message);
  }
  const synced = await files.sync(paths);
  if (synced.isErr()) return failed(synced.error.message);

  const reload = outdated.length > 0 || reloadNoted ? record.reload : undefined;
  const reloaded = reload && (await runCommand(context, reload));
  if (reloaded?.isErr()) return failed(`the previous files are back, but ${reloaded.error}`);
  const forgotten = await journal.forget(id);
  if (forgotten.isErr()) return failed(forgotten.error.message);
  if (outdated.length === 0 && reload === undefined) return `${what} had changed nothing`;
  return `rolled back ${what}${reload === undefined ? '' : ', and reloaded the service'}`;
}

/** A file that was there and is not now was taken by nobody but somebody else: a deployment never leaves a gap. */
function presence(
  { deploymentFiles, crypto }: DeployContext,
  { path, before, after }: RecordedFile,
): ResultAsync<Present, CtrlExecError<'file_failed'>> {
  return deploymentFiles.look(path).map(({ path: now, state }) => {
    if (now !== path) return 'other';
    if (state === undefined) return before === undefined ? 'before' : 'other';
    const digest = hex(crypto.sha256(state.content));
    if (before !== undefined && digest === hex(crypto.sha256(before.content))) return 'before';
    return digest === after ? 'after' : 'other';
  });
}
