import type { Response } from 'express';
import { taken } from './answer.js';

/** Server-sent events (HTML Living Standard, 9.2) as an answer. */
export interface EventStream {
  /** Resolves when the client has taken what was sent before, or is gone. */
  send(event: string, data: unknown): Promise<void>;
  end(): void;
}

/** Milliseconds between two comments that keep proxies from taking a silent stream for a dead one. */
export const heartbeatInterval = 15_000;

/** Begins the answer. */
export function eventStream(response: Response, heartbeat: number): EventStream {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // nginx would hold events back.
    'x-accel-buffering': 'no',
  });
  response.flushHeaders();
  const open = () => !response.writableEnded && !response.destroyed;
  const beat = setInterval(() => {
    if (open() && !response.writableNeedDrain) response.write(': still here\n\n');
  }, heartbeat);
  response.once('close', () => clearInterval(beat));
  return {
    send(event, data) {
      if (!open()) return Promise.resolve();
      if (response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)) return Promise.resolve();
      return taken(response);
    },
    end() {
      clearInterval(beat);
      if (open()) response.end();
    },
  };
}
