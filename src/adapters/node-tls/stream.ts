import type { ServerResponse } from 'node:http';
import type { Writable } from 'node:stream';

/** Bytes that are written at a time: who takes none of them for a while is gone. */
const pieceSize = 16 * 1024;

/** False: the connection is gone, or took nothing for `stall` milliseconds. */
function written(response: Writable, piece: Uint8Array, stall: number): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (taken: boolean) => {
      clearTimeout(timer);
      response.off('close', onClose);
      resolve(taken);
    };
    const onClose = () => settle(false);
    const timer = setTimeout(onClose, stall);
    response.once('close', onClose);
    if (response.destroyed) settle(false);
    else response.write(piece, (error) => settle(!error));
  });
}

/**
 * Writes bytes piece by piece: the time-out of a socket is taken anew by what was handed to the kernel, and would bear who reads
 * nothing for twice as long.
 * @returns whether all of them were taken; false: the connection has gone, or took none of a piece for `stall` milliseconds
 */
export async function writeAll(to: Writable, bytes: Uint8Array, stall: number): Promise<boolean> {
  for (let at = 0; at < bytes.length; at += pieceSize)
    if (!(await written(to, bytes.subarray(at, at + pieceSize), stall))) return false;
  return true;
}

/**
 * Sends an answer's body, then its stream as it comes, one piece after the other: what nobody takes is not asked for. Ends the
 * stream by `return()` when the connection has gone, or when none of a piece's bytes were taken for `stall` milliseconds; however
 * slowly they are taken otherwise, and however long the stream takes.
 * @returns whether all of it was taken; false: the connection is of no use any more
 * @throws what the stream throws
 */
export async function sendStream(
  response: ServerResponse,
  { body, stream }: { readonly body: Uint8Array; readonly stream: AsyncIterable<Uint8Array> },
  stall: number,
): Promise<boolean> {
  const iterator = stream[Symbol.asyncIterator]();
  let gone = response.destroyed;
  let leave = () => {};
  const onClose = () => {
    gone = true;
    leave();
  };
  // Not a race with one promise that says so: that would keep everything that was ever sent until then.
  const next = () =>
    new Promise<IteratorResult<Uint8Array> | undefined>((resolve, reject) => {
      leave = () => resolve(undefined);
      if (gone) leave();
      else iterator.next().then(resolve, reject);
    });
  response.once('close', onClose);
  try {
    let chunk = body;
    for (;;) {
      if (!(await writeAll(response, chunk, stall))) return await end(iterator);
      const given = await next();
      if (given === undefined) return await end(iterator);
      if (given.done === true) return true;
      chunk = given.value;
    }
  } finally {
    response.off('close', onClose);
  }
}

async function end(iterator: AsyncIterator<Uint8Array>): Promise<false> {
  await iterator.return?.();
  return false;
}
