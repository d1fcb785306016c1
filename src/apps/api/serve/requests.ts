import { AsyncLocalStorage } from 'node:async_hooks';
import type { Request, RequestHandler, Response } from 'express';
import type { LogEvent } from '../../../domain/core/event.js';
import { shortestAddress } from '../../../domain/core/ip-prefix.js';
import type { EventLog } from '../../../ports/event-log.js';
import { requestIdOf } from './request-id.js';

/** What is known of a request when it is over. */
export interface EndedRequest {
  readonly method: string;
  /** The template of the route, `-` without one: bounded, whatever clients send. */
  readonly path: string;
  /** 499: the client went away before the answer was whole. */
  readonly status: number;
  readonly seconds: number;
}

/** The address of a client; undefined: it came through the Unix socket. Headers have no say in it. */
export const addressOf = ({ socket }: Pick<Request, 'socket'>): string | undefined =>
  socket.remoteAddress === undefined
    ? undefined
    : (shortestAddress(socket.remoteAddress) ?? socket.remoteAddress);

const requestIds = new AsyncLocalStorage<string>();

/** A log whose events, where a request of the API is what they come of, say so in `api_request`. */
export const withRequestIds = (log: EventLog): EventLog => ({
  emit(event) {
    const id = requestIds.getStore();
    log.emit(
      id === undefined ? event : ({ ...event, fields: { ...event.fields, api_request: id } } as LogEvent),
    );
  },
});

const routeOf = (request: Request): string => {
  const path: unknown = request.route?.path;
  return typeof path === 'string' ? `${request.baseUrl}${path}` : '-';
};

/** Requests that are under way. */
export interface RequestsUnderWay {
  /** Goes before everything else: gives each request an id, and tells how it ended. */
  readonly observe: RequestHandler;
  count(): number;
  /** Resolves when those that are under way now are over. @param which of them; default: all */
  settled(which?: (response: Response) => boolean): Promise<void>;
}

/** @param ended called when a request is over, after it was logged */
export function requestsUnderWay(events: EventLog, ended: (request: EndedRequest) => void): RequestsUnderWay {
  const underWay = new Map<Response, Promise<void>>();
  const observe: RequestHandler = (request, response, next) => {
    const began = performance.now();
    const id = requestIdOf(request);
    const ip = addressOf(request) ?? 'unix';
    response.setHeader('x-request-id', id);
    let given = false;
    // Before node:http lets go of the socket: an answer whose connection broke finishes as well.
    response.prependOnceListener('finish', () => {
      given = response.socket?.destroyed === false;
    });
    const over = new Promise<void>((resolve) => {
      response.once('close', () => {
        underWay.delete(response);
        const status = given ? response.statusCode : 499;
        const ms = Math.round(performance.now() - began);
        const path = routeOf(request);
        const { method } = request;
        const said: unknown = response.locals['username'];
        const username = typeof said === 'string' && said !== '' ? said : undefined;
        const failed: unknown = response.locals['reason'];
        const reason = typeof failed === 'string' ? failed : undefined;
        events.emit({
          action: 'api-request',
          level: status >= 500 ? 'warning' : 'info',
          fields: { method, path, status, ms, api_request: id, ip, username, reason },
        });
        ended({ method, path, status, seconds: ms / 1000 });
        resolve();
      });
    });
    underWay.set(response, over);
    requestIds.run(id, next);
  };
  return {
    observe,
    count: () => underWay.size,
    settled: async (which = () => true) => {
      await Promise.all([...underWay].filter(([response]) => which(response)).map(([, over]) => over));
    },
  };
}
