import { err, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import { hex } from '../../domain/core/bytes.js';
import type { CtrlExecError, Verification } from '../../domain/core/errors.js';
import {
  type DeploymentOrder,
  type DeploymentStep,
  deploymentSteps,
  type FileChange,
  isWrittenInPlace,
  type UndoStep,
  undoSteps,
} from '../../domain/deploy/plan.js';
import type { StagedFile } from '../../ports/deployment-files.js';
import { loadCertificate, unloadCertificate } from './caddy.js';
import { runCommand } from './commands.js';
import type { DeployContext } from './context.js';
import type { CheckedMaterial } from './material.js';
import { verify } from './verify.js';

/** A deployment whose target has said what it wants, with the programs of its commands found. */
export interface PreparedDeployment extends DeploymentOrder {
  readonly targetType: string;
  readonly material: CheckedMaterial;
  readonly backups: number;
}

/** What a deployment has done so far and its undo needs. */
interface Progress {
  journalId: string | undefined;
  readonly staged: Map<FileChange, StagedFile>;
  /** The old files once more, for the way back. */
  readonly previous: Map<FileChange, StagedFile>;
  configuredBefore: { readonly loaded: readonly unknown[] | undefined } | undefined;
  verification: Verification | undefined;
}

/** How a deployment came out. `undone`: what failed on the way back, a reason each. */
export type RunOutcome =
  | { readonly kind: 'deployed' | 'unchanged'; readonly verification: Verification | undefined }
  | {
      readonly kind: 'failed';
      readonly step: DeploymentStep['kind'];
      readonly reason: string;
      readonly begun: readonly DeploymentStep[];
      readonly undoFailures: readonly string[];
      /** Where the backups are that the way back could not do without. */
      readonly backups: string | undefined;
      readonly verification: Verification | undefined;
    };

type Step<S extends { kind: string }, K extends S['kind']> = Extract<S, { kind: K }>;

/** How each step is done; the error is a reason. `unchanged` ends the deployment: there was nothing to do. */
type Doing = {
  readonly [K in DeploymentStep['kind']]: (step: Step<DeploymentStep, K>) => Promise<Result<unknown, string>>;
};
type Undoing = {
  readonly [K in UndoStep['kind']]: (step: Step<UndoStep, K>) => Promise<Result<unknown, string>>;
};

const message = ({ message: text }: { readonly message: string }) => text;

function doing(context: DeployContext, deployment: PreparedDeployment, progress: Progress): Doing {
  const { deploymentFiles: files, deploymentJournal: journal, crypto } = context;
  const { material, changes } = deployment;
  return {
    record: async () => {
      await files.sweep(changes.map(({ path }) => path));
      const recorded = changes.map((file) => ({
        path: file.path,
        before: file.before,
        after: hex(crypto.sha256(file.content)),
        ...(isWrittenInPlace(file) ? { inPlace: true } : {}),
      }));
      const { targetType, reload } = deployment;
      return journal
        .begin({ targetType, reload, files: recorded })
        .map((id) => {
          progress.journalId = id;
        })
        .mapErr(message);
    },
    stage: async ({ file }) => {
      const { acl } = file.before ?? {};
      const staged = await files.stage(acl === undefined ? file : { ...file, acl });
      if (staged.isErr()) return err(staged.error.message);
      progress.staged.set(file, staged.value);
      if (file.before === undefined) return ok(undefined);
      return stageBefore(context, file)
        .map((previous) => progress.previous.set(file, previous))
        .mapErr(message);
    },
    place: async ({ file }) => {
      const staged = progress.staged.get(file);
      return staged === undefined ? err(`${file.path} was not staged`) : files.place(staged).mapErr(message);
    },
    sync: async ({ files: changed }) => files.sync(changed.map(({ path }) => path)).mapErr(message),
    validate: ({ command }) => runCommand(context, command),
    note: async () =>
      progress.journalId === undefined
        ? ok(undefined)
        : journal.noteReload(progress.journalId).mapErr(message),
    reload: ({ command }) => runCommand(context, command),
    configure: async ({ adminApi }) => {
      const loaded = await loadCertificate(context, adminApi, material);
      if (loaded.isErr()) {
        progress.configuredBefore = loaded.error.unsure;
        return err(loaded.error.reason);
      }
      if (!loaded.value.changed) return ok('unchanged');
      progress.configuredBefore = { loaded: loaded.value.before };
      return ok(undefined);
    },
    verify: async ({ rule }) => {
      progress.verification = await verify(context, rule, material.fingerprint, material.certificate);
      const { verified, error } = progress.verification;
      // A stop ends the waiting, and is no reason to take a deployment back.
      return verified || error === 'stopped' ? ok(undefined) : err(error ?? 'mismatch');
    },
    tidy: async () => {
      for (const previous of progress.previous.values()) await files.discard(previous);
      progress.previous.clear();
      return files.sync(changes.map(({ path }) => path)).mapErr(message);
    },
    commit: async () =>
      progress.journalId === undefined
        ? ok(undefined)
        : journal.end(progress.journalId, deployment.backups).mapErr(message),
  };
}

function undoing(context: DeployContext, progress: Progress): Undoing {
  const { deploymentFiles: files } = context;
  return {
    restore: async ({ file }) => {
      if (file.before === undefined) return files.remove(file.path).mapErr(message);
      const kept = progress.previous.get(file);
      progress.previous.delete(file);
      const previous = kept === undefined ? stageBefore(context, file) : okAsync(kept);
      return previous.andThen((staged) => placeOrDiscard(context, staged)).mapErr(message);
    },
    sync: async ({ files: changed }) => files.sync(changed.map(({ path }) => path)).mapErr(message),
    reload: ({ command }) => runCommand(context, command),
    unconfigure: async ({ adminApi }) =>
      progress.configuredBefore === undefined
        ? ok(undefined)
        : unloadCertificate(context, adminApi, progress.configuredBefore.loaded),
    discard: async ({ file }) => {
      for (const staged of [progress.staged.get(file), progress.previous.get(file)])
        if (staged !== undefined) await files.discard(staged);
      return ok(undefined);
    },
  };
}

/** The old file once more, beside its place. */
export function stageBefore(
  { deploymentFiles }: DeployContext,
  { path, before, inPlace = false }: Pick<FileChange, 'path' | 'before' | 'inPlace'>,
) {
  const { content = new Uint8Array(), mode = 0o600, uid, gid, acl } = before ?? {};
  const list = acl === undefined ? {} : { acl };
  return deploymentFiles.stage({ path, content, mode, owner: uid, group: gid, inPlace, ...list });
}

/** An old private key that cannot be put back does not stay beside its place. The journal has it. */
export const placeOrDiscard = (
  { deploymentFiles: files }: DeployContext,
  staged: StagedFile,
): ResultAsync<void, CtrlExecError<'file_failed'>> =>
  // defence: old-key-is-discarded
  files.place(staged).orTee(() => files.discard(staged));

/** Does the steps of a deployment and, when one fails, undoes those that were begun. */
export async function runDeployment(
  context: DeployContext,
  deployment: PreparedDeployment,
): Promise<RunOutcome> {
  const progress: Progress = {
    journalId: undefined,
    staged: new Map(),
    previous: new Map(),
    configuredBefore: undefined,
    verification: undefined,
  };
  const perform = doing(context, deployment, progress);
  const begun: DeploymentStep[] = [];
  for (const step of deploymentSteps(deployment)) {
    begun.push(step);
    const done = await (perform[step.kind] as (step: DeploymentStep) => Promise<Result<unknown, string>>)(
      step,
    );
    if (done.isOk() && done.value === 'unchanged') return { kind: 'unchanged', verification: undefined };
    if (done.isOk()) continue;
    const didNothing =
      (step.kind === 'place' && progress.staged.get(step.file)?.inPlace === undefined) ||
      (step.kind === 'configure' && progress.configuredBefore === undefined);
    // defence: nothing-done-nothing-undone
    if (didNothing) begun.pop();
    const undoFailures = await undo(context, begun, progress);
    const { journalId, verification } = progress;
    return {
      kind: 'failed',
      step: step.kind,
      reason: done.error,
      begun,
      undoFailures,
      backups: journalId && context.deploymentJournal.location(journalId),
      verification,
    };
  }
  return { kind: 'deployed', verification: progress.verification };
}

/** Every undo step is tried, but nothing is told to read files of which some could not be put back. */
async function undo(
  context: DeployContext,
  begun: readonly DeploymentStep[],
  progress: Progress,
): Promise<readonly string[]> {
  const perform = undoing(context, progress);
  const failures: string[] = [];
  for (const step of undoSteps(begun)) {
    if (step.kind === 'reload' && failures.length > 0) {
      failures.push('so the service was not told to reload');
      continue;
    }
    const done = await (perform[step.kind] as (step: UndoStep) => Promise<Result<unknown, string>>)(step);
    if (done.isErr()) failures.push(done.error);
  }
  // What could not be undone stays pending: the next start tries again.
  if (failures.length > 0 || progress.journalId === undefined) return failures;
  const forgotten = await context.deploymentJournal.forget(progress.journalId);
  return forgotten.isErr() ? [forgotten.error.message] : [];
}
