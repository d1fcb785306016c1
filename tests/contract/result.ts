import type { Result } from 'neverthrow';

/** What an Ok holds. Throws, with the error in its message, where the result is an Err. */
export function value<T>(result: Result<T, unknown>): T {
  if (result.isOk()) return result.value;
  throw new Error(`expected a value, got the failure ${shown(result.error)}`, { cause: result.error });
}

/** What an Err holds. Throws, with the value in its message, where the result is an Ok. */
export function failure<E>(result: Result<unknown, E>): E {
  if (result.isErr()) return result.error;
  throw new Error(`expected a failure, got the value ${shown(result.value)}`);
}

/** One line of at most 500 characters. */
function shown(what: unknown): string {
  try {
    return (JSON.stringify(what) ?? String(what)).slice(0, 500);
  } catch {
    return String(what);
  }
}
