import { connect } from 'node:tls';
import type { Conversation } from './server.js';

/** A client that is connected, has been answered once, and goes on when it is told to. */
export interface StayingClient {
  /** Says the rest; resolves with the answer. Rejects when the connection has been closed. */
  goOn(): Promise<string>;
  leave(): void;
}

/** Connects, and waits for the first answer. Rejects when there is none. */
export async function stayingClient(port: number, talk: Conversation): Promise<StayingClient> {
  const socket = connect({ host: '127.0.0.1', port, servername: 'www.test', rejectUnauthorized: false });
  let text = '';
  let closed: string | undefined;
  let look = (): void => undefined;
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
    look();
  });
  const close = (why: string) => {
    closed ??= why;
    look();
  };
  socket.on('error', ({ message }) => close(message)).on('close', () => close('closed'));
  const answer = (wanted: RegExp) =>
    new Promise<string>((resolve, reject) => {
      look = () => {
        const heard = text;
        if (wanted.test(heard)) {
          text = '';
          resolve(heard);
        } else if (closed !== undefined) reject(new Error(`${closed}, after ${JSON.stringify(heard)}`));
      };
      look();
    });
  socket.write(talk.first);
  await answer(talk.answered);
  socket.write(talk.half);
  return {
    goOn: () => {
      socket.write(talk.rest);
      return answer(talk.last);
    },
    leave: () => socket.destroy(),
  };
}
