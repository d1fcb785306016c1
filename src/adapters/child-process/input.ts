import type { Writable } from 'node:stream';
import { later } from './timer.js';

/**
 * Writes `bytes`, then end-of-file; what is still unread after `timeout` milliseconds, or when `ended` resolves, is dropped.
 * A reader that went away (EPIPE) is no failure: whether to read is its own affair.
 */
export const feed = (stdin: Writable, bytes: Uint8Array, timeout: number, ended: Promise<unknown>): void => {
  const close = (): void => {
    cancel();
    stdin.destroy();
  };
  const cancel = later(timeout, close);
  stdin.on('error', close);
  stdin.end(bytes, cancel);
  void ended.then(close);
};
