import type { EventLog } from '../../../ports/event-log.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';

/** Seconds after which a pass that failed is tried again, unless the next one is due before. */
const retryAfter = 300;
/** Most seconds until the first pass: what a process missed that was down for long is done soon. */
const firstWithin = 60;

/** Between 0.9 and 1.1: processes that were started together do not stay together. */
const jitter = () => 0.9 + Math.random() * 0.2;

export interface Maintaining {
  /** The interval may have changed. */
  rearm(): void;
  /** Begins no pass any more; one that is under way turns to no further agent. */
  stop(): void;
}

/**
 * One maintenance pass after the other, `interval` seconds apart. Of several processes of one home one does it at a time, and the
 * others pass over theirs; what needs nothing done costs a look at the registry.
 */
export function keepMaintained(parts: {
  readonly dispatcher: () => Dispatcher;
  /** Seconds. */
  readonly interval: () => number;
  readonly events: EventLog;
  /** Called after each pass that was done. */
  readonly maintained: () => void;
}): Maintaining {
  const { dispatcher, interval, events, maintained } = parts;
  const stopping = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let passing = false;

  const arm = (seconds: number) => {
    clearTimeout(timer);
    if (!stopping.signal.aborted) timer = setTimeout(() => void pass(), seconds * jitter() * 1000);
  };

  const pass = async () => {
    passing = true;
    const done = await dispatcher().maintain({ signal: stopping.signal, alone: true });
    passing = false;
    if (done.isOk()) maintained();
    else if (done.error.code !== 'held') {
      if (!stopping.signal.aborted)
        events.emit({
          action: 'maintenance-failed',
          level: 'error',
          fields: { reason: done.error.message },
        });
      return arm(Math.min(retryAfter, interval()));
    }
    arm(interval());
  };

  arm(Math.min(firstWithin, interval()) * Math.random());
  return {
    rearm: () => {
      if (!passing) arm(Math.min(firstWithin, interval()) * Math.random());
    },
    stop() {
      stopping.abort();
      clearTimeout(timer);
    },
  };
}
