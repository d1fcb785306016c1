import { getSystemErrorMap } from 'node:util';
import { ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';

export type FileFailure = CtrlExecError<'file_failed'>;

/** The system's code of something that was thrown; `EIO` when it carries none. */
export function codeOf(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' ? code : 'EIO';
}

/** A failure with the system's code as its reason and, in the message, what that code means. */
export function systemFailure(path: string, operation: string, code: string, meaning?: string): FileFailure {
  const known = [...getSystemErrorMap().values()].find(([name]) => name === code)?.[1];
  const text = meaning ?? known;
  return failure(
    'file_failed',
    `cannot ${operation} ${path}: ${text === undefined ? code : `${text} (${code})`}`,
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

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Runs calls of node:fs; what they throw becomes an Err that names `path` and `operation`. */
export function attempt<T>(
  path: string,
  operation: string,
  run: () => Promise<T>,
): ResultAsync<T, FileFailure> {
  return ResultAsync.fromPromise((async () => run())(), (thrown) =>
    systemFailure(
      path,
      operation,
      codeOf(thrown),
      thrown instanceof ExplainedFailure ? thrown.message : undefined,
    ),
  );
}

/** The value of a call, or undefined when it failed with one of these system codes; anything else is thrown on. */
export async function unless<T>(codes: readonly string[], call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (thrown) {
    if (codes.includes(codeOf(thrown))) return undefined;
    throw thrown;
  }
}

/** Waits for a call whose failure changes nothing for the caller. */
export async function bestEffort(call: Promise<unknown>): Promise<void> {
  await call.catch(() => undefined);
}
