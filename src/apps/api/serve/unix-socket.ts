import { randomBytes } from 'node:crypto';
import { link, lstat, rename, unlink } from 'node:fs/promises';
import { connect, type Server } from 'node:net';
import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';

type Freed = Result<void, CtrlExecError<'listen_failed'>>;

const codeOf = (thrown: unknown) => (thrown as NodeJS.ErrnoException).code ?? 'EIO';

const inUse = (path: string, reason: string, meaning: string) =>
  err(failure('listen_failed', `cannot listen on ${path}: ${meaning}`, { bind: path, port: 0, reason }));

/** Whether a process listens on a socket file. */
const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Anything but a refusal may be a process that is busy, or of somebody else.
    socket.once('error', (error) => resolve(!['ECONNREFUSED', 'ENOENT'].includes(codeOf(error))));
  });

/**
 * Makes room for a socket file: one that a process left behind when it died is removed, one that somebody listens on, or what is
 * no socket, is `listen_failed`. What is removed is set aside first, so that two who start at once do not remove each other's.
 */
export async function freeSocketPath(path: string): Promise<Freed> {
  try {
    const found = await lstat(path);
    if (!found.isSocket()) return inUse(path, 'EEXIST', 'there is something that is no socket');
    if (await answers(path)) return inUse(path, 'EADDRINUSE', 'EADDRINUSE, another process listens there');
    const aside = `${path}.${randomBytes(4).toString('hex')}`;
    await rename(path, aside);
    const alive = await answers(aside);
    if (alive) await link(aside, path);
    await unlink(aside);
    return alive ? inUse(path, 'EADDRINUSE', 'EADDRINUSE, another process listens there') : ok(undefined);
  } catch (thrown) {
    const code = codeOf(thrown);
    return code === 'ENOENT' ? ok(undefined) : inUse(path, code, code);
  }
}

/** Listens on a path with mode 0660 from the first moment on: the file is made within the call, while nothing else is. */
export function listenOnPath(server: Server, path: string): void {
  const former = process.umask(0o117);
  try {
    server.listen({ path });
  } finally {
    process.umask(former);
  }
}
