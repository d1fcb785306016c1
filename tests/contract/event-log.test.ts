import { describe, expect, test } from 'vitest';
import { memoryEventLog } from '../../src/adapters/memory/event-log.js';
import { syslogEventLog } from '../../src/adapters/syslog/event-log.js';
import { lineEventLog } from '../../src/adapters/text-log/event-log.js';
import { jsonEventLog } from '../../src/adapters/text-log/json.js';
import type { Clock } from '../../src/ports/clock.js';
import { missingForSyslog, syslogSocket } from '../support/network/syslog-socket.js';
import { parseLogLine } from '../unit/domain/core/parse-log-line.js';
import { eventLogContract } from './event-log.contract.js';

const clock: Clock = { now: () => 1_700_000_000_123, monotonic: () => 0, after: () => () => undefined };

const texts = (fields: object): Record<string, string> =>
  Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]])),
  );

/** What a reader of lines gets, whatever it takes for the end of one. */
const linesOf = (written: readonly string[]): string[] =>
  written.flatMap((line) => line.split(/[\n\r\v\f\u0085\u2028\u2029]/));

eventLogContract('memory', () => {
  const log = memoryEventLog();
  return {
    log,
    records: () => log.events.map(({ action, fields }) => ({ action, fields: texts(fields ?? {}) })),
  };
});

eventLogContract('lines', () => {
  const written: string[] = [];
  return {
    log: lineEventLog((line) => written.push(line)),
    records: () => linesOf(written).map(parseLogLine),
  };
});

eventLogContract('JSON', () => {
  const written: string[] = [];
  const records = () =>
    linesOf(written).map((line) => {
      const { time: _time, level: _level, action, ...fields } = JSON.parse(line) as Record<string, string>;
      return { action: action ?? '', fields: texts(fields) };
    });
  return { log: jsonEventLog((line) => written.push(line), clock), records };
});

if (missingForSyslog === undefined)
  eventLogContract('syslog', async () => {
    const { path, until } = await syslogSocket();
    const fallback = (line: string): never => {
      throw new Error(`not in syslog: ${line}`);
    };
    const log = syslogEventLog({ tag: 'contract', socket: path, fallback });
    const records = async () => {
      log.emit({ action: 'last' });
      await log.close();
      const messages = await until(({ text }) => text === 'ACTION=last');
      return linesOf(messages.slice(0, -1).map(({ text }) => text)).map(parseLogLine);
    };
    return { log, records };
  });
else test.skip(`event log: syslog (${missingForSyslog})`, () => undefined);

describe('a writer that throws', () => {
  const broken = (): never => {
    throw new Error('EPIPE');
  };
  test.each([
    ['lines', lineEventLog(broken)],
    ['JSON', jsonEventLog(broken, clock)],
  ])('%s: emit does not', (_name, log) => {
    expect(() => log.emit({ action: 'run' })).not.toThrow();
  });
});

describe('JSON records', () => {
  const only = (fields: Record<string, string | number | boolean>, level?: 'error') => {
    const written: string[] = [];
    jsonEventLog((line) => written.push(line), clock).emit({
      action: 'run',
      ...(level && { level }),
      fields,
    });
    return written.join('|');
  };

  test('time, level and action come first and cannot be overwritten', () => {
    expect(only({ reqid: 'a1', action: 'forged', time: 'never', level: 'none' }, 'error')).toBe(
      '{"time":"2023-11-14T22:13:20.123Z","level":"error","action":"run","reqid":"a1"}',
    );
  });

  test('numbers and booleans keep their type; the level is info unless told', () => {
    expect(JSON.parse(only({ exit: 0, ok: true }))).toMatchObject({ level: 'info', exit: 0, ok: true });
  });

  test('nothing invisible stands in a line', () => {
    expect(only({ x: '\u009b\u202e\u2028\u200b\u007f\u{e0041}' })).toContain(
      '"x":"\\u009b\\u202e\\u2028\\u200b\\u007f\\udb40\\udc41"',
    );
  });
});

test('lines are given to the writer with the level of their event', () => {
  const written: string[][] = [];
  const log = lineEventLog((line, level) => written.push([line, level]));
  log.emit({ action: 'run' });
  log.emit({ action: 'denied', level: 'warning' });
  expect(written).toEqual([
    ['ACTION=run', 'info'],
    ['ACTION=denied', 'warning'],
  ]);
});
