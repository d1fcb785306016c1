import { errorCode } from '../../domain/core/thrown.js';

/** The system's code of something that was thrown; `EIO` when it carries none. */
export const codeOf = (thrown: unknown): string => errorCode(thrown) ?? 'EIO';

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
