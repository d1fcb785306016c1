import { printable } from '../../domain/core/names.js';
import { errorMessage, errorName, errorStack, isError } from '../../domain/core/thrown.js';

const nameOf = (error: unknown): string => errorName(error) ?? `a value of type ${typeof error}`;

/** Whether it says no more than that the signal was heeded. */
export const isAbort = (error: unknown, signal: AbortSignal): boolean =>
  error === signal.reason || ['AbortError', 'TimeoutError'].includes(nameOf(error));

/** For a log: the kind of error and the place in the code, never its message, which counts as output. */
export const whereThrown = (error: unknown): string => {
  const name = printable(nameOf(error), 80);
  const stack = isError(error) ? errorStack(error) : undefined;
  if (stack === undefined) return `it threw ${name}`;
  const message = errorMessage(error);
  const frames = stack.slice(stack.indexOf(message) + message.length);
  const place = /^\s+at .*?((?:file:\/\/|node:|\/)[^\s()]+:\d+:\d+)\)?$/m.exec(frames)?.[1];
  return place === undefined ? `it threw ${name}` : `it threw ${name} at ${printable(place, 300)}`;
};
