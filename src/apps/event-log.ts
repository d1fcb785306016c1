import { statSync } from 'node:fs';
import { syslogEventLog } from '../adapters/syslog/event-log.js';
import { systemClock } from '../adapters/system/clock.js';
import { appendFile } from '../adapters/text-log/append-file.js';
import { lineEventLog } from '../adapters/text-log/event-log.js';
import { jsonEventLog } from '../adapters/text-log/json.js';
import { standardError } from '../adapters/text-log/standard-error.js';
import type { EventLogSetting } from '../domain/settings/event-log.js';
import type { EventLog } from '../ports/event-log.js';
import { memo } from './wiring.js';

/** An event log that has something to end. */
export interface OpenedEventLog extends EventLog {
  /** Resolves once every event is where it should be, or it is certain that it will not get there. */
  close(): Promise<void>;
}

/** The process that writes the log. */
export interface EventSource {
  /** Stands in front of its lines in syslog. */
  readonly program: 'ctrl-exec' | 'ctrl-exec-agent' | 'ctrl-exec-api';
  /** Whether this is a daemon, whose standard error somebody keeps. */
  readonly daemon: boolean;
}

const nothingToClose = async () => undefined;

const systemLog = '/dev/log';

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket();
  } catch {
    return false;
  }
}

/** What whoever sets up a host has to know of its log; undefined: events of commands are kept. */
export function lostEvents(setting: EventLogSetting): string | undefined {
  if (setting.kind !== 'auto' || isSocket(systemLog)) return undefined;
  return `there is no ${systemLog}: events of commands are not kept; \`event_log = json:/path\` keeps them`;
}

/** What Node cannot do as the first process of a container, whose commands start it below a shell that can. */
const cannotReap =
  'this is process 1 and Node.js does not reap orphans, so what scripts leave behind stays as zombies: start ctrl-exec-agent or ctrl-exec-api itself, not node, or give the container an init (docker run --init)';

/** The event log of a daemon. */
export function openDaemonLog(setting: EventLogSetting, program: EventSource['program']): OpenedEventLog {
  const log = openEventLog(setting, { program, daemon: true });
  if (process.pid === 1) log.emit({ action: 'warning', level: 'warning', fields: { reason: cannotReap } });
  return log;
}

/** The event log that the configuration asks for. Opens nothing before the first event. */
export function openEventLog(setting: EventLogSetting, source: EventSource): OpenedEventLog {
  switch (setting.kind) {
    case 'auto':
      if (source.daemon) return openEventLog({ kind: 'stderr' }, source);
      return openEventLog({ kind: isSocket(systemLog) ? 'syslog' : 'none' }, source);
    case 'none':
      return { emit: () => undefined, close: nothingToClose };
    case 'stderr':
      return { ...lineEventLog(lazyStandardError()), close: nothingToClose };
    case 'syslog':
      return syslogEventLog({ tag: source.program, socket: setting.socket, fallback: lazyStandardError() });
    case 'json':
      return setting.file === undefined
        ? { ...jsonEventLog(lazyStandardError(), systemClock()), close: nothingToClose }
        : jsonFile(setting.file);
  }
}

function jsonFile(path: string): OpenedEventLog {
  const clock = systemClock();
  const write = lazyStandardError();
  const failed = (reason: string) =>
    jsonEventLog(write, clock).emit({ action: 'event-log-failed', level: 'warning', fields: { reason } });
  const file = appendFile(path, { write, failed });
  return { ...jsonEventLog(file.write, clock), close: async () => file.close() };
}

/** Standard error is touched only by who writes there. */
const lazyStandardError = (): ReturnType<typeof standardError> => {
  const opened = memo(standardError);
  return (line, level) => opened()(line, level);
};
