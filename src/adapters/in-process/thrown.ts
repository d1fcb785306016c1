import { printable } from '../../domain/core/names.js';

/** What code that is not ours throws may be anything, with accessors that throw again. */
const safely = (read: () => unknown, otherwise: string): string => {
  try {
    const value = read();
    return typeof value === 'string' && value !== '' ? value : otherwise;
  } catch {
    return otherwise;
  }
};

const nameOf = (error: unknown): string =>
  error instanceof Error ? safely(() => error.name, 'Error') : `a value of type ${typeof error}`;

/** The message, without a stack. */
export const messageOf = (error: unknown): string =>
  error instanceof Error
    ? safely(() => error.message, nameOf(error))
    : safely(() => String(error), 'it threw something without a text');

/** Whether it says no more than that the signal was heeded. */
export const isAbort = (error: unknown, signal: AbortSignal): boolean =>
  error === signal.reason || ['AbortError', 'TimeoutError'].includes(nameOf(error));

/** For a log: the kind of error and the place in the code, never its message, which counts as output. */
export const whereThrown = (error: unknown): string => {
  const name = printable(nameOf(error), 80);
  if (!(error instanceof Error)) return `it threw ${name}`;
  const message = safely(() => error.message, '');
  const stack = safely(() => error.stack, '');
  const frames = stack.slice(message === '' ? 0 : stack.indexOf(message) + message.length);
  const place = /^\s+at .*?((?:file:\/\/|node:|\/)[^\s()]+:\d+:\d+)\)?$/m.exec(frames)?.[1];
  return place === undefined ? `it threw ${name}` : `it threw ${name} at ${printable(place, 300)}`;
};
