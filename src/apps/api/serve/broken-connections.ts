import type { Socket } from 'node:net';
import type { RequestHandler, Response } from 'express';

const answersOf = new WeakMap<Socket, Set<Response>>();

/**
 * Has an answer end with its connection also while it waits behind another one there: node:http tells only the one whose turn it is
 * that its connection is gone. `close` may come twice then.
 */
export const endsWithConnection: RequestHandler = ({ socket }, response, next) => {
  // Nobody is there to be answered.
  if (socket.closed) return;
  let answers = answersOf.get(socket);
  if (!answers) {
    const here = new Set<Response>();
    answers = here;
    answersOf.set(socket, here);
    socket.once('close', () => {
      for (const waiting of here) {
        if (waiting.socket) continue;
        waiting.destroy();
        waiting.emit('close');
      }
    });
  }
  const outstanding = answers.add(response);
  response.once('close', () => outstanding.delete(response));
  next();
};
