import { accessSync, readFileSync, statSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { whyDenied } from '../../domain/core/file-access.js';
import { codeOf } from '../shared/system-code.js';

export type FileFailure = CtrlExecError<'file_failed'>;

/** A failure with the system's code as its reason and, in the message, what that code means and who may where it was denied. */
export function systemFailure(path: string, operation: string, code: string, meaning?: string): FileFailure {
  const known = [...getSystemErrorMap().values()].find(([name]) => name === code)?.[1];
  const text = meaning ?? known;
  const denied = meaning === undefined && ['EACCES', 'EPERM'].includes(code);
  const why = denied
    ? whyDenied(path, { accessSync, statSync, readFileSync, geteuid: process.geteuid })
    : undefined;
  return failure(
    'file_failed',
    `cannot ${operation} ${path}: ${text === undefined ? code : `${text} (${code})`}${why === undefined ? '' : `: ${why}`}`,
    {
      path,
      operation,
      reason: code,
    },
  );
}

/** What is thrown where the system's code alone would not tell what heals it. */
export class ExplainedFailure extends Error {
  readonly code: string;
  readonly place: { readonly path: string; readonly operation: string } | undefined;

  /** @param place what cannot be done, where that is not what was asked for */
  constructor(code: string, message: string, place?: ExplainedFailure['place']) {
    super(message);
    this.code = code;
    this.place = place;
  }
}

/** Runs calls of node:fs; what they throw becomes an Err that names `path` and `operation`. */
export function attempt<T>(
  path: string,
  operation: string,
  run: () => Promise<T>,
): ResultAsync<T, FileFailure> {
  return ResultAsync.fromPromise((async () => run())(), (thrown) =>
    thrown instanceof ExplainedFailure
      ? systemFailure(
          thrown.place?.path ?? path,
          thrown.place?.operation ?? operation,
          thrown.code,
          thrown.message,
        )
      : systemFailure(path, operation, codeOf(thrown)),
  );
}
