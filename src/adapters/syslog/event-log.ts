import { existsSync } from 'node:fs';
import type { EventLevel, EventRecord, LogEvent } from '../../domain/core/event.js';
import { logLine } from '../../domain/core/log-line.js';
import { errorMessage } from '../../domain/core/thrown.js';
import type { EventLog } from '../../ports/event-log.js';
import { type LoggerProcess, startLogger } from './logger.js';

export interface SyslogOptions {
  /** Name of the program, in front of every line. */
  readonly tag: string;
  /** Unix datagram socket. Default: that of the system, `/dev/log`. */
  readonly socket?: string | undefined;
  /** Gets the lines while there is no syslog. */
  readonly fallback: (line: string, level: EventLevel) => void;
  /** Default: `logger`, as PATH has it. */
  readonly program?: string;
  /** Bytes of lines that may wait; more are dropped. Default: 1 MiB. */
  readonly maxWaiting?: number;
  /** Milliseconds until syslog is tried again after it could not be reached. Default: 30,000. */
  readonly retryAfter?: number;
  /** Milliseconds that `close` waits for the last line. Default: 2,000. */
  readonly closeWithin?: number;
}

/** An event log in syslog, which may be closed again and again: a later event begins anew. */
export interface SyslogEventLog extends EventLog {
  emit(event: EventRecord): void;
  /** Resolves once everything is delivered or has gone to the fallback. */
  close(): Promise<void>;
}

interface Line {
  readonly text: string;
  readonly level: EventLevel;
}

/** Facility daemon (3) and the severities of RFC 5424. */
const priorities: Readonly<Record<EventLevel, number>> = { error: 27, warning: 28, info: 30 };

/** Milliseconds: a logger that ends sooner could not do its work, and lines that it got since then may be lost. */
const settled = 1_000;
const maxBatch = 32;
/** So many lines that a logger got last are given to the next one, if it dies. */
const maxRepeated = 4_096;

const cost = ({ text }: Line): number => text.length + 64;

/**
 * Events as lines in syslog, facility daemon, through one `logger` for the whole process. It is started by the first
 * event and again when it dies; the lines of its last second are then repeated, so one may come twice but none is lost.
 * When it cannot be started, or ends at once twice, the reason (or that the socket is not there) and the lines go to the fallback until `retryAfter` has passed. Lines that
 * find the buffer full are dropped, and counted in a later `events-dropped`.
 */
export function syslogEventLog(options: SyslogOptions): SyslogEventLog {
  const { fallback, maxWaiting = 1024 ** 2, retryAfter = 30_000, closeWithin = 2_000 } = options;
  const { program = 'logger', tag, socket } = options;
  let waiting: Line[] = [];
  let waitingCost = 0;
  let underWay: readonly Line[] = [];
  let given: { readonly line: Line; readonly at: number }[] = [];
  let dropped = 0;
  let logger: LoggerProcess | undefined;
  let startedAt = 0;
  let shortLives = 0;
  let notBefore = Number.NEGATIVE_INFINITY;
  let onIdle: (() => void) | undefined;

  const now = () => performance.now();
  const line = (event: EventRecord): Line => ({ text: logLine(event), level: event.level ?? 'info' });
  const wait = (added: Line) => {
    waiting.push(added);
    waitingCost += cost(added);
  };
  const sayDropped = () => {
    if (dropped === 0) return;
    wait(line({ action: 'events-dropped', level: 'warning', fields: { count: dropped } } satisfies LogEvent));
    dropped = 0;
  };

  /** Everything that waits goes to the fallback. */
  const giveUp = () => {
    sayDropped();
    for (const { text, level } of waiting.splice(0)) attempt(() => fallback(text, level));
    waitingCost = 0;
  };

  const unreachable = (why: string) => {
    const { socket: path = '/dev/log' } = options;
    const reason = existsSync(path) ? why : `there is no ${path}, so lines go to standard error`;
    notBefore = now() + retryAfter;
    shortLives = 0;
    const failed = { action: 'event-log-failed', level: 'warning', fields: { reason } } satisfies LogEvent;
    waiting.unshift(line(failed));
    giveUp();
  };

  const ended = (why: { readonly reason: string; readonly started: boolean } | undefined) => {
    const lived = now() - startedAt;
    const since = now() - settled;
    const repeated = why ? given.filter(({ at }) => at >= since).map((recent) => recent.line) : [];
    waiting = [...repeated, ...underWay, ...waiting];
    waitingCost = waiting.reduce((sum, each) => sum + cost(each), 0);
    given = [];
    underWay = [];
    logger = undefined;
    shortLives = why && lived < settled ? shortLives + 1 : 0;
    if (why && (!why.started || shortLives > 1)) unreachable(why.reason);
    proceed();
  };

  const started = (): LoggerProcess | undefined => {
    startedAt = now();
    try {
      return startLogger(program, { tag, socket }, ended);
    } catch (thrown) {
      unreachable(`${program}: ${errorMessage(thrown)}`);
      return undefined;
    }
  };

  const proceed = () => {
    if (underWay.length > 0) return;
    if (waiting.length === 0) sayDropped();
    if (waiting.length > 0) {
      logger ??= started();
      if (!logger) return idle();
      underWay = waiting.splice(0, maxBatch);
      waitingCost -= underWay.reduce((sum, each) => sum + cost(each), 0);
      const text = underWay.map((each) => `<${priorities[each.level]}>${each.text}\n`).join('');
      logger.write(text, taken);
    } else if (onIdle) {
      if (logger) logger.end();
      else idle();
    }
  };

  const taken = () => {
    const at = now();
    given.push(...underWay.map((each) => ({ line: each, at })));
    given = given.slice(-maxRepeated).filter((each) => each.at >= at - settled);
    underWay = [];
    proceed();
  };

  const idle = () => {
    onIdle?.();
    onIdle = undefined;
  };

  let closing: Promise<void> | undefined;
  const close = async () => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, closeWithin, 'late');
    });
    const done = new Promise<void>((resolve) => {
      onIdle = resolve;
    });
    proceed();
    const outcome = await Promise.race([done, late]);
    clearTimeout(timer);
    closing = undefined;
    if (outcome !== 'late') return;
    onIdle = undefined;
    logger?.release();
    logger = undefined;
    // What is under way is partly with the logger: it may come twice.
    waiting.unshift(...underWay);
    underWay = [];
    giveUp();
  };

  return {
    emit(event) {
      attempt(() => {
        const added = line(event);
        if (now() < notBefore) return fallback(added.text, added.level);
        if (waitingCost + cost(added) > maxWaiting) {
          dropped += 1;
          return;
        }
        sayDropped();
        wait(added);
        proceed();
      });
    },
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

function attempt(work: () => void): void {
  try {
    work();
  } catch {
    // There is no other place to say it.
  }
}
