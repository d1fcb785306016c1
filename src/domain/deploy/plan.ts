import type { Acl } from './acl.js';
import type { Command } from './command.js';
import type { VerificationRule } from './verification.js';

/** A regular file as it is. */
export interface FileState {
  readonly content: Uint8Array;
  /** Permission bits. With an access control list those of the group are its own entry, not the mask. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Undefined: there is no access control list beside the mode. */
  readonly acl?: Acl;
  /** Something is mounted there: nothing can be renamed over it. */
  readonly isMounted?: boolean;
}

/** A file that is to have another content. */
export interface FileChange {
  /** Every link resolved. */
  readonly path: string;
  readonly content: Uint8Array;
  readonly mode: number;
  /** Name or number; undefined: whoever writes it. */
  readonly owner: string | number | undefined;
  readonly group: string | number | undefined;
  /** What is there now; undefined: nothing. */
  readonly before: FileState | undefined;
  /** If it is a mount point it may be written in place. */
  readonly inPlace?: boolean;
}

/** Whether a file is written over, not replaced: a crash in the middle leaves a part of it. */
export const isWrittenInPlace = ({ inPlace, before }: FileChange): boolean =>
  inPlace === true && before?.isMounted === true;

/** What is done, in this order; each has its undo. */
export type DeploymentStep =
  /** Keeps what was there, and notes durably that a deployment has begun. */
  | { readonly kind: 'record' }
  /** Writes the new file beside the old one, and the old one once more for the way back: later steps need no room. */
  | { readonly kind: 'stage'; readonly file: FileChange }
  /** Renames the new file over the old one. */
  | { readonly kind: 'place'; readonly file: FileChange }
  | { readonly kind: 'sync'; readonly files: readonly FileChange[] }
  | { readonly kind: 'validate'; readonly command: Command }
  /** Notes that what is served may not be what is in the files. */
  | { readonly kind: 'note' }
  | { readonly kind: 'reload'; readonly command: Command }
  /** Gives the certificate to an administration API. */
  | { readonly kind: 'configure'; readonly adminApi: string }
  | { readonly kind: 'verify'; readonly rule: VerificationRule }
  /** Removes what was written beside for the way back. */
  | { readonly kind: 'tidy'; readonly files: readonly FileChange[] }
  /** From here on it holds. */
  | { readonly kind: 'commit' };

export type UndoStep =
  /** Renames what was there into its place, or removes what was not. */
  | { readonly kind: 'restore'; readonly file: FileChange }
  | { readonly kind: 'sync'; readonly files: readonly FileChange[] }
  | { readonly kind: 'reload'; readonly command: Command }
  | { readonly kind: 'unconfigure'; readonly adminApi: string }
  /** Removes the files that were written beside. */
  | { readonly kind: 'discard'; readonly file: FileChange };

/** What a target wants done about files that differ, or about an administration API. */
export interface DeploymentOrder {
  readonly changes: readonly FileChange[];
  readonly validate: Command | undefined;
  readonly reload: Command | undefined;
  readonly adminApi: string | undefined;
  readonly verification: VerificationRule | undefined;
}

/** The steps of a deployment. What could fail for want of room or of permission comes before the first change. */
export function deploymentSteps(order: DeploymentOrder): readonly DeploymentStep[] {
  const { changes, validate, reload, adminApi, verification } = order;
  const each = <K extends 'stage' | 'place'>(kind: K) => changes.map((file) => ({ kind, file }) as const);
  const replacing: readonly DeploymentStep[] =
    changes.length === 0
      ? []
      : [{ kind: 'record' }, ...each('stage'), ...each('place'), { kind: 'sync', files: changes }];
  return [
    ...replacing,
    ...(validate ? [{ kind: 'validate', command: validate } as const] : []),
    ...(reload ? [{ kind: 'note' } as const, { kind: 'reload', command: reload } as const] : []),
    ...(adminApi === undefined ? [] : [{ kind: 'configure', adminApi } as const]),
    ...(verification ? [{ kind: 'verify', rule: verification } as const] : []),
    ...(changes.length === 0 ? [] : [{ kind: 'tidy', files: changes } as const, { kind: 'commit' } as const]),
  ];
}

/**
 * What leads back from a deployment of which these steps were begun; the last one failed, and may have been done in part. A step
 * that did nothing is not among them.
 * The files come back first, in reverse, then whatever read them is told to read them again.
 */
export function undoSteps(begun: readonly DeploymentStep[]): readonly UndoStep[] {
  const placed: FileChange[] = [];
  const staged: FileChange[] = [];
  const afterwards: UndoStep[] = [];
  for (const step of begun) {
    if (step.kind === 'place') placed.unshift(step.file);
    if (step.kind === 'stage') staged.push(step.file);
    if (step.kind === 'reload') afterwards.push({ kind: 'reload', command: step.command });
    if (step.kind === 'configure') afterwards.push({ kind: 'unconfigure', adminApi: step.adminApi });
  }
  return [
    ...placed.map((file) => ({ kind: 'restore', file }) as const),
    ...(placed.length > 0 ? [{ kind: 'sync', files: placed } as const] : []),
    ...afterwards,
    ...staged.map((file) => ({ kind: 'discard', file }) as const),
  ];
}

const same = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index]);

/** Whether a file has this content already. */
export const isUnchanged = (before: FileState | undefined, content: Uint8Array): boolean =>
  before !== undefined && same(before.content, content);
