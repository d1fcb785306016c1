import type { Request } from 'express';
import { isLoopback, sourceOf } from '../../../domain/core/ip-prefix.js';
import { addressOf } from './requests.js';

/** How many requests may be at what at a time. */
export interface GateLimits {
  /** Whose body is read, and of whom the hook is asked whether they may use the API at all. A quarter of them from one source. */
  readonly unadmitted: number;
  /** `GET /metrics`, from beginning to end. */
  readonly metrics: number;
  /** Streams that only watch a run. */
  readonly watching: number;
  /** The same of one caller: of a user name, without one of an address. */
  readonly watchingOfCaller: number;
  /** Milliseconds for the body of a request that nobody has vouched for yet. */
  readonly body: number;
}

export const defaultGateLimits: GateLimits = {
  unadmitted: 256,
  metrics: 4,
  watching: 64,
  watchingOfCaller: 16,
  body: 5_000,
};

/** A place, or why there is none. */
export type GatePlace =
  | {
      /** Gives it back; more than once changes nothing. */
      readonly leave: () => void;
      readonly busy?: never;
    }
  | {
      /** Why there is none, for the client. */
      readonly busy: string;
      readonly leave?: never;
    };

/** How many are let in at a time. */
export interface Gate {
  /** Milliseconds. */
  readonly body: number;
  /** Before anything is known of a request but its header. */
  enter(request: Request): GatePlace;
  /** When the hook has let the caller in. @param watches it only watches what another request has begun */
  admit(request: Request, username: string, watches: boolean): GatePlace;
}

/** Is given its metrics by places of its own. */
export const isScrape = ({ method, path }: Pick<Request, 'method' | 'path'>): boolean =>
  method === 'GET' && path === '/metrics';

/** Whoever is on this host, or behind a proxy there, is one source. */
function sourceOfRequest(request: Request): string {
  const address = addressOf(request);
  return address === undefined || isLoopback(address) ? 'this host' : sourceOf(address);
}

const busyText = (most: number, what: string) => `${most} ${what}, more are not taken`;

/** So many places, of which one holder may have some. */
function places(what: string) {
  let taken = 0;
  const held = new Map<string, number>();
  return {
    take(most: number, holder: string, mostOfOne = most): GatePlace {
      const count = held.get(holder) ?? 0;
      if (taken >= most) return { busy: busyText(most, what) };
      if (count >= mostOfOne) return { busy: busyText(mostOfOne, `${what} for ${holder}`) };
      taken += 1;
      held.set(holder, count + 1);
      let left = false;
      return {
        leave() {
          if (left) return;
          left = true;
          taken -= 1;
          const rest = (held.get(holder) ?? 1) - 1;
          if (rest > 0) held.set(holder, rest);
          else held.delete(holder);
        },
      };
    },
  };
}

/**
 * The places of one API: nobody who was not admitted takes one of `api_max_concurrent`.
 * @param most `api_max_concurrent` @param calls what admitted requests have the dispatcher do: more than the requests say where
 * clients have left
 */
export function gate(most: () => number, calls: () => number, limits: GateLimits): Gate {
  const unadmitted = places('requests wait to be let in');
  const scrapes = places('requests for metrics are under way');
  const working = places('requests are under way');
  const watching = places('streams watch runs');
  return {
    body: limits.body,
    enter(request) {
      const source = sourceOfRequest(request);
      return isScrape(request)
        ? scrapes.take(limits.metrics, source)
        : unadmitted.take(limits.unadmitted, source, Math.ceil(limits.unadmitted / 4));
    },
    admit(request, username, watches) {
      const caller = username === '' ? sourceOfRequest(request) : `user ${username}`;
      if (watches) return watching.take(limits.watching, caller, limits.watchingOfCaller);
      const now = most();
      return calls() >= now ? { busy: busyText(now, 'requests are under way') } : working.take(now, caller);
    },
  };
}

/** For an application that limits by itself. */
export const openGate: Gate = {
  body: 20_000,
  enter: () => ({ leave: () => undefined }),
  admit: () => ({ leave: () => undefined }),
};
