import type { RequestHandler } from 'express';
import { isLoopback, shortestAddress, sourceOf } from '../../../domain/core/ip-prefix.js';
import { sourceLimits } from '../../../domain/protocol/source-limits.js';
import type { DispatcherSettings } from '../../../domain/settings/dispatcher.js';
import type { EventLog } from '../../../ports/event-log.js';
import { refuse } from '../answers/answer.js';
import { refusal } from '../answers/refusals.js';
import type { ServerLimits } from './limits.js';
import { addressOf } from './requests.js';

type Settings = Pick<DispatcherSettings, 'apiRateLimit'>;

/** Sources whose requests are counted, and as many that are blocked. */
const maxSources = 10_000;

/** Says of every answer what browsers are to make of it: nothing. */
export const securityHeaders: RequestHandler = (_request, response, next) => {
  response.setHeader('Cache-Control', 'no-store');
  response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'");
  response.setHeader('Referrer-Policy', 'no-referrer');
  response.setHeader('X-Content-Type-Options', 'nosniff');
  next();
};

/** Refuses headers of more lines than anybody needs, and any number of Hosts but the one that HTTP/1.1 asks for. */
export const headerLines =
  ({ headerLines: most }: Pick<ServerLimits, 'headerLines'>): RequestHandler =>
  (request, response, next) => {
    const { rawHeaders } = request;
    if (rawHeaders.length > 2 * most) {
      response.setHeader('Connection', 'close');
      return refuse(response, refusal('headers', `at most ${most} header lines are taken`));
    }
    const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host');
    if (hosts.length !== 1 && !(hosts.length === 0 && request.httpVersion === '1.0')) {
      response.setHeader('Connection', 'close');
      return refuse(response, refusal('noHttp', 'one Host header is expected'));
    }
    next();
  };

/** A Host without its port, an IPv6 address without its brackets. */
const nameOf = (host: string): string => host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1');

const cannotBeRebound = (host: string): boolean => {
  const name = nameOf(host);
  return name.toLowerCase() === 'localhost' || shortestAddress(name) !== undefined;
};

/**
 * Refuses what is asked by a name where nobody is asked for credentials. Somebody's page under a name that he makes resolve to
 * this host (DNS rebinding) is of the same site to a browser, whose user may have nothing but his place on this host or in its
 * network. It needs a name for that; a certificate for one, and the Unix socket, are out of its reach.
 */
export const noRebinding =
  (settings: () => Pick<DispatcherSettings, 'apiAuthDefault' | 'authHook'>): RequestHandler =>
  ({ socket, headers: { host } }, response, next) => {
    const { apiAuthDefault, authHook } = settings();
    const open = authHook === undefined && apiAuthDefault === 'allow';
    const plain = socket.remoteAddress !== undefined && !('encrypted' in socket);
    // Without a Host, which browsers always send, it is of HTTP/1.0.
    if (!open || !plain || host === undefined || cannotBeRebound(host)) return next();
    refuse(
      response,
      refusal(
        'rebinding',
        'where nobody is asked for credentials, Host must be localhost or an IP address: set auth_hook, or have the proxy send Host: localhost',
      ),
    );
  };

/** One source may make so many requests (`api_rate_limit`); this host, also through the Unix socket, any number. */
export function requestRate(settings: () => Settings, events: EventLog): RequestHandler {
  const sources = sourceLimits(maxSources);
  return (request, response, next) => {
    const address = addressOf(request);
    if (address === undefined || isLoopback(address)) return next();
    const now = performance.now();
    const source = sourceOf(address);
    const limit = settings().apiRateLimit;
    if ((sources.nextEnd() ?? now) < now)
      for (const { source, met } of sources.takeEnded(now))
        events.emit({
          action: 'source-released',
          fields: { source, limit: 'api_rate_limit', met, more: undefined },
        });
    const blocked = sources.count(source, ['volume'], { volume: limit, probe: limit }, now);
    if (blocked)
      events.emit({
        action: 'source-limited',
        level: 'warning',
        fields: {
          source,
          limit: 'api_rate_limit',
          effect: 'blocked',
          seconds: blocked.seconds,
          more: undefined,
        },
      });
    const left = sources.blockedFor(source, now);
    if (left === 0) return next();
    sources.met(source);
    response.setHeader('Retry-After', String(Math.max(1, Math.ceil(left / 1000))));
    refuse(
      response,
      refusal('rate', `${source} made more than ${limit.limit} requests in ${limit.window} s`),
    );
  };
}
